"""One function a command: it names the script, the keys and the arguments, and how the reply is read.

`producing` has what programs that enqueue send, `working` what worker processes send, `operating` what people
send, `reading` plain reads. Each script is `scripts/<name>.lua`.
"""
