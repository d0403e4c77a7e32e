"""What is typed: the command `dequant`, and what train.py and evaluate.py share."""
