"""What taskq costs. Figures are ratios within one run, or CPU time a task: machines are shared and noisy."""
