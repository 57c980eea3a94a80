"""Several devices: the processes that compute one run together, how they are started, and how they talk.

A run on n devices has a process for each, its ranks. The process that was asked for the run starts them once
(`launch`), by PyTorch's own agent (`agent`), tells them what a signal asks for, and hands on what rank 0 has to say.
`strategy` says to Lightning what they are, and `settling` needs no Lightning.
"""
