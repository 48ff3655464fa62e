"""Write a deployment for those who start services: systemd, Compose, Kubernetes, Slurm.

All of them take the processes from `forkhouse.serving.arranging`, so they start what `forkhouse
serve` starts. A writer returns texts by file name, and touches no file itself.
"""
