"""The broker: everything between the rest of taskq and a server.

`client.Broker` is what the layers above hold. A command is a plain value from `commands/`, which names a script of
`scripts/`; `conversation` says what is done about faults; `keys` names every key. Importing this package loads
nothing: the driver comes with the first connection.
"""
