"""Engines built by TensorRT, TensorRT-RTX and torch-tensorrt."""
