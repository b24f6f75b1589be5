"""Reading and writing safetensors files: an 8-byte length, a JSON header, then the tensors' bytes."""

import json
import os
import struct

import torch

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read(path):
    """Returns ({name: tensor}, {key: text}): the tensors of a file in the types they are stored in, and its metadata.

    Raises ValueError for a file that is no safetensors file or holds a type that DTYPES does not list.
    """
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= os.path.getsize(path) - 8:
            raise ValueError(f"{path} is no safetensors file: its header would have {length} bytes")
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{path}: {name} has type {entry['dtype']}, expected one of {', '.join(DTYPES)}")
        begin, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        if begin == end:
            tensors[name] = torch.empty(entry["shape"], dtype=dtype)
            continue
        tensors[name] = torch.frombuffer(data, dtype=torch.uint8, offset=begin, count=end - begin).clone()
        tensors[name] = tensors[name].view(dtype).reshape(entry["shape"])
    return tensors, metadata


def write(path, tensors, metadata=None):
    """Writes {name: tensor} and {key: text}. The file appears whole or not at all."""
    header = {"__metadata__": metadata} if metadata else {}
    blobs, offset = [], 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        blob = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    unfinished = f"{path}.part"
    with open(unfinished, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            file.write(blob)
    os.replace(unfinished, path)
