"""Teaching one stage and measuring what it learnt.

`train` takes a model, a mixture and a freeze policy, and gives weights; `learner` is its Lightning module, `checkpoint`
what it resumes from, `features` what frozen blocks give, stored once. `evaluate` measures, and alone opens test images.
`cost` counts FLOPs, `numerics` and `hardware` say what the last bits depend on. What planning needs of it (`trainer`,
`numerics`, `predictions`, `features`) imports no Lightning, which `lightning_facts` asks where nothing is known. It
imports methods, backbones, data and the store. Begin with `train`.
"""
