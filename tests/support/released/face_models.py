"""A face detector of InsightFace's kind that takes bright red squares of 32 px for faces."""

from pathlib import Path

import numpy as np

STRIDES = (8, 16, 32)
ANCHORS = 2


def write_red_square_detector(folder: Path) -> None:
    """An ONNX file with SCRFD's nine outputs; only stride 32 ever finds something."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, outputs = [], [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    def head(name: str, stride: int, width: int, weight: np.ndarray, bias: np.ndarray) -> None:
        """A convolution over cells of the picture to `width` numbers an anchor."""
        inputs = ["picture", constant(f"{name}_w", weight), constant(f"{name}_b", bias)]
        nodes.append(helper.make_node("Conv", inputs, [f"{name}_c"], strides=[stride, stride]))
        nodes.append(helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]))
        shape = constant(f"{name}_s", np.array([-1, width]))
        nodes.append(helper.make_node("Reshape", [f"{name}_t", shape], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width]))

    for kind, width in (("score", 1), ("box", 4), ("point", 10)):
        for stride in STRIDES:
            channels = ANCHORS * width
            weight = np.zeros((channels, 3, stride, stride), np.float32)
            bias = np.zeros(channels, np.float32)
            if kind == "score" and stride == STRIDES[-1]:
                weight[0, 0] = 1 / stride**2  # red is 1, all else -1
                weight[0, 1:] = -0.5 / stride**2
                bias[0] = -1.0
            if kind == "box":
                bias[:4] = [0, 0, 1, 1]  # strides from the cell's corner to the box's edges
            head(f"{kind}{stride}", stride, width, weight, bias)
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, None, None])
    graph = helper.make_graph(nodes, "detector", [picture], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "det.onnx")
