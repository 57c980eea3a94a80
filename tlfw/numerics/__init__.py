"""What numbers depend on besides settings: the trainer, its devices and precision, processors, threads and versions.

`tag` puts it together for keys. `hardware` asks the machine, `lightning_facts` asks Lightning, and `environment` writes
down what is of no key.
"""
