# SPDX-License-Identifier: MIT
"""Writes types.gguf (every tensor type raft reads, every type of metadata) and what the gguf package reads from it.

    python3 make_golden.py        (pip install gguf safetensors numpy)
"""
import gguf
import numpy as np
from gguf import GGMLQuantizationType as T, GGUFValueType as V
from safetensors.numpy import save_file

random = np.random.default_rng(7)
writer = gguf.GGUFWriter("types.gguf", "test")
for name, kind, value in [
    ("uint8", V.UINT8, 200), ("int8", V.INT8, -100), ("uint16", V.UINT16, 60000), ("int16", V.INT16, -30000),
    ("uint32", V.UINT32, 4000000000), ("int32", V.INT32, -2000000000), ("uint64", V.UINT64, 1 << 40), ("int64", V.INT64, -(1 << 40)),
    ("float32", V.FLOAT32, 0.5), ("float64", V.FLOAT64, -0.25), ("bool", V.BOOL, True), ("string", V.STRING, "h\u00e9llo"),
]:
    writer.add_key_value("test." + name, value, kind)
writer.add_array("test.strings", ["", "a", "\u0120t\u0120"])
writer.add_array("test.integers", [1, -2, 3])
writer.add_array("test.floats", [0.5, -1.5])

expected = {}
for kind in [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q6_K]:
    values, size = gguf.GGML_QUANT_SIZES[kind]
    columns = 512 if values > 1 else 8
    if kind in (T.F32, T.F16):
        data = random.standard_normal((3, columns)).astype(np.float32 if kind == T.F32 else np.float16)
        expected[kind.name] = data.astype(np.float32)
    else:  # every bit random but the scales, which are halves of a sensible size
        data = random.integers(0, 256, (3, columns // values * size), dtype=np.uint8)
        scales = {T.Q4_K: [0, 2], T.Q6_K: [208], T.Q4_1: [0, 2], T.Q5_1: [0, 2], T.BF16: []}.get(kind, [0])
        blocks = data.reshape(-1, size)
        for at in scales:
            blocks[:, at:at + 2] = random.standard_normal((len(blocks), 1)).astype(np.float16).view(np.uint8)
        if kind == T.BF16:
            data = (random.standard_normal((3, columns)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        expected[kind.name] = gguf.dequantize(data, kind).astype(np.float32)
    writer.add_tensor(kind.name, data, raw_dtype=kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, "types.safetensors")
