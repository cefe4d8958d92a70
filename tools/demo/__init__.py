"""The parts of `tools/train_demo.py`: the corpus, the two models, and the files that ship."""
