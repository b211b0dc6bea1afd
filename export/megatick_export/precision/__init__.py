"""Lower precisions of a network, each as the graph itself: nothing is left to a flag.

``lowering`` puts a network's weights into FP16 or BF16 and keeps in float32 what must be;
``fp8`` makes its linear layers 8-bit, with explicit quantisation in the graph;
``extra_state`` reads the scales that Transformer Engine trained with.
"""
