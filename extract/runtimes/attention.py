"""Attention as one operation, for which OpenVINO has a kernel, in place of the operations that Keras makes of it.

Keras (keras.ops.dot_product_attention on TensorFlow) writes softmax(query . key / sqrt(size)) . value as two einsums of
(batch, tokens, heads, size) tensors, which OpenVINO computes one by one. Its kernel makes DINOv2 small a fifth faster in
bfloat16 and a twentieth in float32.
"""

import math

import numpy as np
import openvino
import openvino.opset13 as ops

_SCORES, _WEIGHTED = "BTNH,BSNH->BNTS", "BNTS,BSNH->BTNH"
_HEADS_FIRST = np.array([0, 2, 1, 3])


def fuse_attention(model: openvino.Model) -> None:
    """Replace, in the model, all attention without a mask or a bias.

    The kernel's own scale is 1 / sqrt(size): attention of another scale is left as it is.
    """
    for weighted in model.get_ordered_ops():
        scores = _scores(weighted)
        if scores is None:
            continue
        query, key, value = scores.input_value(0), scores.input_value(1), weighted.input_value(1)
        fused = ops.scaled_dot_product_attention(*map(_heads_first, (query, key, value)))
        weighted.output(0).replace(_heads_first(fused.output(0)))


def _scores(weighted: openvino.Node) -> openvino.Node | None:
    """The product of queries and keys if `weighted` is softmax(that product / sqrt(size)) . value, otherwise None."""
    if _equation(weighted) != _WEIGHTED:
        return None
    softmax = weighted.input_value(0).get_node()
    if softmax.get_type_name() != "Softmax" or softmax.get_attributes()["axis"] not in (-1, 3):
        return None
    scaled = softmax.input_value(0).get_node()
    if scaled.get_type_name() != "Multiply":
        return None
    scores = scaled.input_value(0).get_node()
    return scores if _equation(scores) == _SCORES and _is_usual_scale(scaled, scores) else None


def _equation(node: openvino.Node) -> str:
    return node.get_attributes()["equation"] if node.get_type_name() == "Einsum" else ""


def _is_usual_scale(scaled: openvino.Node, scores: openvino.Node) -> bool:
    """Whether the scores (batch, heads, tokens, tokens) are multiplied by 1 / sqrt(size)."""
    factor = scaled.input_value(1).get_node()
    size = scores.input_value(0).get_partial_shape()[3]
    if factor.get_type_name() != "Constant" or size.is_dynamic:
        return False
    return bool(np.allclose(factor.get_data(), 1 / math.sqrt(size.get_length()), rtol=1e-6))


def _heads_first(tokens_first: openvino.Output) -> openvino.Output:
    """(batch, tokens, heads, size) as (batch, heads, tokens, size), or back."""
    return ops.transpose(tokens_first, ops.constant(_HEADS_FIRST)).output(0)
