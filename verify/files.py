# SPDX-License-Identifier: MIT
"""Reading what is checked: safetensors (docs/SPEC.md 16.2), settings, the values of tests/vectors (its README). Nothing is trusted:
a damaged file is named."""
import json
import os
import struct
import sys

try:
    import numpy as np
except ImportError:
    print("verify: numpy is missing. Install it (Debian: apt-get install python3-numpy; elsewhere: pip install numpy).", file=sys.stderr)
    sys.exit(2)

DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "u1"}


class Trouble(Exception):
    """A file that cannot be read or lacks something: exit status 2."""


def read_safetensors(path):
    """name -> array."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}")
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else len(data)
    if size > len(data) - 8:
        raise Trouble(f"{path}: cut or not a safetensors file: the header of {size} bytes does not fit into {len(data)}")
    try:
        header = json.loads(data[8:8 + size])
    except ValueError as error:
        raise Trouble(f"{path}: the header is not JSON: {error}")
    tensors, data = {}, data[8 + size:]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if entry["dtype"] not in DTYPES:
            raise Trouble(f"{path}: {name} is of type {entry['dtype']}, which is not read here")
        dtype = np.dtype(DTYPES[entry["dtype"]])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if not 0 <= begin <= end <= len(data) or end - begin != count * dtype.itemsize:
            raise Trouble(f"{path}: {name} {entry['shape']} does not fit its place {begin}..{end} of {len(data)} bytes")
        tensors[name] = np.frombuffer(data[begin:end], dtype).reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
    kinds = {np.dtype(code): name for name, code in DTYPES.items()}
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        header[name] = {"dtype": kinds[value.dtype], "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        parts.append(value.tobytes())
        at += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def read_trace(path):
    """A trace: a folder with index.jsonl and the files it names, or one safetensors file."""
    if not os.path.isdir(path):
        return read_safetensors(path)
    tensors, files = {}, {}
    try:
        with open(os.path.join(path, "index.jsonl"), encoding="utf-8") as index:
            lines = [json.loads(line) for line in index if line.strip()]
    except (OSError, ValueError) as error:
        raise Trouble(f"{path}/index.jsonl: {error}")
    for entry in lines:
        if not entry.get("file"):
            raise Trouble(f"{path}: written with --hashes-only; a replay needs the values")
        if entry["file"] not in files:
            files[entry["file"]] = read_safetensors(os.path.join(path, entry["file"]))
        if entry["name"] not in files[entry["file"]]:
            raise Trouble(f"{path}/{entry['file']}: no tensor {entry['name']}, which index.jsonl names")
        tensors[entry["name"]] = files[entry["file"]][entry["name"]]
    return tensors


def read_settings(path):
    """`key = value` lines, as a run's settings.conf; later lines win."""
    settings = {}
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                key, equals, value = line.partition("=")
                if equals and not line.lstrip().startswith("#"):
                    settings[key.strip()] = value.strip()
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}")
    return settings
