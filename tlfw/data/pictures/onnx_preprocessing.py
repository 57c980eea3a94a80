"""A preprocessing as an ONNX graph, from images of any size to what a network gets, number for number.

ONNX's own `Resize` computes in floating-point numbers and rounds once, where torch has whole numbers and rounds after
each axis: of resized pixels one in seven would be a level off. So the weights of `tlfw.data.pictures.resampling` are
computed in the graph, and multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx.compose
import onnx.helper
import onnx.inliner
import onnx.parser
from onnx import ModelProto

from tlfw.data.pictures.preprocessing import Preprocessing
from tlfw.data.pictures.resampling import MOST_BITS, REACH, Interpolation

DOMAIN = "tlfw"
"""Of the functions below, which are dissolved into plain operators."""

PIXELS, LOGITS = "x_BCHW", "logits_BK"

FILTERS: dict[Interpolation, str] = {
    "bilinear": """
        straight = Sub (one, x)
        value = Max (straight, zero)
    """,
    "bicubic": """
        a = Constant <value = double {1.5}> ()
        b = Constant <value = double {2.5}> ()
        a_x = Mul (a, x)
        a_x_b = Sub (a_x, b)
        a_x_b_x = Mul (a_x_b, x)
        a_x_b_xx = Mul (a_x_b_x, x)
        near = Add (a_x_b_xx, one)
        four = Constant <value = double {4.0}> ()
        five = Constant <value = double {5.0}> ()
        eight = Constant <value = double {8.0}> ()
        x_5 = Sub (x, five)
        x_5_x = Mul (x_5, x)
        x_5_x_8 = Add (x_5_x, eight)
        x_5_x_8_x = Mul (x_5_x_8, x)
        x_5_x_8_x_4 = Sub (x_5_x_8_x, four)
        minus_half = Neg (half)
        far = Mul (x_5_x_8_x_4, minus_half)
        two = Constant <value = double {2.0}> ()
        is_near = Less (x, one)
        is_far = Less (x, two)
        far_or_zero = Where (is_far, far, zero)
        value = Where (is_near, near, far_or_zero)
    """,
}
"""`value` of the distances `x` from the centre, as in `resampling.FILTERS`."""

REACHED = """
<domain: "tlfw", opset_import: ["" : {opset}]>
Reached (outputs_S, inputs, scale) => (centre_S1, first_S1, end_S1, stretch)
{{
    half = Constant <value = double {{0.5}}> ()
    one = Constant <value = double {{1.0}}> ()
    none = Constant <value = int64 {{0}}> ()
    last_axis = Constant <value = int64[1] {{1}}> ()
    filter = Constant <value = double {{{reach}}}> ()
    stretch = Max (scale, one)
    reach = Mul (filter, stretch)
    outputs_S1 = Unsqueeze (outputs_S, last_axis)
    output_S1 = Cast <to = 11> (outputs_S1)
    middle_S1 = Add (output_S1, half)
    centre_S1 = Mul (scale, middle_S1)
    below_S1 = Sub (centre_S1, reach)
    below_half_S1 = Add (below_S1, half)
    below_whole_S1 = Cast <to = 7> (below_half_S1)
    first_S1 = Max (below_whole_S1, none)
    above_S1 = Add (centre_S1, reach)
    above_half_S1 = Add (above_S1, half)
    above_whole_S1 = Cast <to = 7> (above_half_S1)
    end_S1 = Min (above_whole_S1, inputs)
}}
"""
"""Which inputs each output is made of."""

SHARES = """
<domain: "tlfw", opset_import: ["" : {opset}]>
Shares (inputs_SN, centre_S1, first_S1, end_S1, stretch) => (shares_SN)
{{
    zero = Constant <value = double {{0.0}}> ()
    half = Constant <value = double {{0.5}}> ()
    one = Constant <value = double {{1.0}}> ()
    last_axis = Constant <value = int64[1] {{1}}> ()
    input_SN = Cast <to = 11> (inputs_SN)
    from_centre_SN = Sub (input_SN, centre_S1)
    distance_SN = Add (from_centre_SN, half)
    shrunk = Div (one, stretch)
    place_SN = Mul (distance_SN, shrunk)
    x = Abs (place_SN)
    {filter}
    is_first_SN = GreaterOrEqual (inputs_SN, first_S1)
    is_before_end_SN = Less (inputs_SN, end_S1)
    is_reached_SN = And (is_first_SN, is_before_end_SN)
    value_SN = Where (is_reached_SN, value, zero)
    sum_S1 = ReduceSum (value_SN, last_axis)
    shares_SN = Div (value_SN, sum_S1)
}}
"""
"""What each input shares in each output."""

AXIS = """
<domain: "tlfw", opset_import: ["" : {opset}, "tlfw" : 1]>
Axis (inputs, whole, cut) => (begin_1, end_1, weights_SN, unit)
{{
    none = Constant <value = int64 {{0}}> ()
    single = Constant <value = int64 {{1}}> ()
    count = Constant <value = int64 {{{size}}}> ()
    n = Cast <to = 11> (inputs)
    m = Cast <to = 11> (whole)
    scale = Div (n, m)

    one = Constant <value = double {{1.0}}> ()
    is_reduced = Greater (scale, one)
    many = Where (is_reduced, whole, single)
    every_E = Range (none, many, single)
    centre_E1, first_E1, end_E1, stretch = tlfw.Reached (every_E, inputs, scale)
    reached_E1 = Sub (end_E1, first_E1)
    most = ReduceMax <keepdims = 0> (reached_E1)
    taps_K = Range (none, most, single)
    inputs_EK = Add (first_E1, taps_K)
    shares_EK = tlfw.Shares (inputs_EK, centre_E1, first_E1, end_E1, stretch)
    largest = ReduceMax <keepdims = 0> (shares_EK)

    half = Constant <value = double {{0.5}}> ()
    units_P = Constant <value = double[{powers}] {{{units}}}> ()
    doubled_P = Constant <value = double[{bits}] {{{doubled}}}> ()
    at_most = Constant <value = double {{32768.0}}> ()
    scaled_P = Mul (largest, doubled_P)
    rounded_P = Add (scaled_P, half)
    whole_P = Floor (rounded_P)
    is_full_P = GreaterOrEqual (whole_P, at_most)
    full_P = Cast <to = 7> (is_full_P)
    full = ReduceSum <keepdims = 0> (full_P)
    most_bits = Constant <value = int64 {{{bits}}}> ()
    bits = Sub (most_bits, full)
    unit = Gather (units_P, bits)

    cut_end = Add (cut, count)
    outputs_S = Range (cut, cut_end, single)
    centre_S1, first_S1, end_S1, also_stretch = tlfw.Reached (outputs_S, inputs, scale)
    begin = ReduceMin <keepdims = 0> (first_S1)
    end = ReduceMax <keepdims = 0> (end_S1)
    inputs_N = Range (begin, end, single)
    first_axis = Constant <value = int64[1] {{0}}> ()
    inputs_1N = Unsqueeze (inputs_N, first_axis)
    shares_SN = tlfw.Shares (inputs_1N, centre_S1, first_S1, end_S1, stretch)
    sign_SN = Sign (shares_SN)
    size_SN = Abs (shares_SN)
    scaled_SN = Mul (size_SN, unit)
    rounded_SN = Add (scaled_SN, half)
    whole_SN = Floor (rounded_SN)
    weights_SN = Mul (sign_SN, whole_SN)
    begin_1 = Unsqueeze (begin, first_axis)
    end_1 = Unsqueeze (end, first_axis)
}}
"""
"""`resampling.weights`, dense over the inputs from `begin` to `end`, and 2**p."""

PLACE = """
<domain: "tlfw", opset_import: ["" : {opset}]>
Place (whole) => (cut)
{{
    size = Constant <value = int64 {{{size}}}> ()
    half = Constant <value = double {{0.5}}> ()
    over = Sub (whole, size)
    over_double = Cast <to = 11> (over)
    each = Mul (over_double, half)
    rounded = Round (each)
    cut = Cast <to = 7> (rounded)
}}
"""
"""`resampling.places`, of an axis of the resized image."""

ROUNDED = """
<domain: "tlfw", opset_import: ["" : {opset}]>
Rounded (sum, unit) => (level)
{{
    zero = Constant <value = double {{0.0}}> ()
    half = Constant <value = double {{0.5}}> ()
    white = Constant <value = double {{255.0}}> ()
    share = Div (sum, unit)
    raised = Add (share, half)
    whole = Floor (raised)
    level = Clip (whole, zero, white)
}}
"""

GRAPH = """
<ir_version: {ir}, opset_import: ["" : {opset}, "tlfw" : 1]>
preprocessing (uint8[B, H, W, 3] image_BHWC) => (float[B, 3, {size}, {size}] x_BCHW)
{{
    shape = Shape (image_BHWC)
    one = Constant <value = int64 {{1}}> ()
    two = Constant <value = int64 {{2}}> ()
    height = Gather (shape, one)
    width = Gather (shape, two)
    shorter = Min (height, width)
    longer = Max (height, width)
    resize = Constant <value = int64 {{{resize}}}> ()
    resized = Mul (resize, longer)
    long = Div (resized, shorter)
    is_wide = LessOrEqual (height, width)
    rows = Where (is_wide, resize, long)
    columns = Where (is_wide, long, resize)
    top = tlfw.Place (rows)
    left = tlfw.Place (columns)
    above, below, row_weights, row_unit = tlfw.Axis (height, rows, top)
    before, after, column_weights, column_unit = tlfw.Axis (width, columns, left)

    row_axis = Constant <value = int64[1] {{1}}> ()
    column_axis = Constant <value = int64[1] {{2}}> ()
    some_rows = Slice (image_BHWC, above, below, row_axis)
    part_BHWC = Slice (some_rows, before, after, column_axis)
    part_BCHW = Transpose <perm = [0, 3, 1, 2]> (part_BHWC)
    part = Cast <to = 11> (part_BCHW)
    turned_weights = Transpose <perm = [1, 0]> (column_weights)
    column_sums = MatMul (part, turned_weights)
    columns_done = tlfw.Rounded (column_sums, column_unit)
    row_sums = MatMul (row_weights, columns_done)
    pixels = tlfw.Rounded (row_sums, row_unit)

    levels_BCHW = Cast <to = 1> (pixels)
    white = Constant <value = float {{255.0}}> ()
    mean_C11 = Constant <value = float[3, 1, 1] {{{mean}}}> ()
    std_C11 = Constant <value = float[3, 1, 1] {{{std}}}> ()
    from_0_to_1 = Div (levels_BCHW, white)
    about_0 = Sub (from_0_to_1, mean_C11)
    x_BCHW = Div (about_0, std_C11)
}}
"""

CLASSIFIED = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
classification (float[B, {count}] logits_BK)
=> (float[B, {count}] probabilities_BK, string[B] label_B, string[{count}] classes_K)
{{
    probabilities_BK = Softmax <axis = 1> (logits_BK)
    best_B = ArgMax <axis = 1, keepdims = 0> (logits_BK)
    label_B = Gather (names, best_B)
    classes_K = Identity (names)
}}
"""


def graph_of(preprocessing: Preprocessing, opset: int, ir: int) -> ModelProto:
    """From `image_BHWC`, uint8 `[B, H, W, 3]`, RGB, to `x_BCHW`, float32 `[B, 3, size, size]`.

    Args:
        opset: version of ONNX's operators; 18 or more.
        ir: version of ONNX's files.
    """
    numbers = {
        "opset": opset,
        "ir": ir,
        "size": preprocessing.size,
        "resize": preprocessing.resize,
        "reach": REACH[preprocessing.interpolation],
        "filter": FILTERS[preprocessing.interpolation],
        "bits": MOST_BITS,
        "powers": MOST_BITS + 1,
        "units": _listed([float(2**p) for p in range(MOST_BITS + 1)]),
        "doubled": _listed([float(2 ** (p + 1)) for p in range(MOST_BITS)]),
        "mean": _listed(preprocessing.mean),
        "std": _listed(preprocessing.std),
    }
    model = onnx.parser.parse_model(GRAPH.format(**numbers))
    parts = (REACHED, SHARES, AXIS, PLACE, ROUNDED)
    model.functions.extend(onnx.parser.parse_function(part.format(**numbers)) for part in parts)
    return onnx.inliner.inline_local_functions(model)


def with_preprocessing(network: ModelProto, preprocessing: Preprocessing, classes: Sequence[str]) -> ModelProto:
    """A network that is exported from `x_BCHW` to `logits_BK`, with all that lies before and after it.

    Returns:
        From `image_BHWC`, uint8 `[B, H, W, 3]`, to `probabilities_BK`, float32 `[B, K]`, `label_B`, the name of each
        image's likeliest class, and `classes_K`, all names, in the order of the probabilities.
    """
    opset, ir = next(each.version for each in network.opset_import if each.domain == ""), network.ir_version
    before = onnx.compose.add_prefix(graph_of(preprocessing, opset, ir), "before/", rename_inputs=False)
    after = onnx.parser.parse_model(CLASSIFIED.format(opset=opset, ir=ir, count=len(classes)))
    # As bytes, and not in the text above: a name may hold anything.
    names = [name.encode("utf-8", "surrogateescape") for name in classes]
    after.graph.initializer.append(
        onnx.TensorProto(name="names", data_type=onnx.TensorProto.STRING, dims=[len(names)], string_data=names)
    )
    after = onnx.compose.add_prefix(after, "after/", rename_outputs=False)
    inner = onnx.compose.merge_models(before, network, [(f"before/{PIXELS}", PIXELS)])
    whole = onnx.compose.merge_models(inner, after, [(LOGITS, f"after/{LOGITS}")])
    # It has one version several times, and that of functions that are no longer there.
    versions = {each.domain: each.version for each in whole.opset_import if each.domain != DOMAIN}
    del whole.opset_import[:]
    whole.opset_import.extend(onnx.helper.make_opsetid(*each) for each in versions.items())
    return whole


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(repr(float(number)) for number in numbers)
