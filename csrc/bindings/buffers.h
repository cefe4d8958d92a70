// What callers hand in: paths, and the bytes of objects with the buffer protocol, held without a
// copy.
#pragma once

#include <cstddef>
#include <memory>
#include <pybind11/pybind11.h>
#include <span>
#include <string>

namespace realm::bindings {

// Bytes that stay in place until `owner` is gone. The last owner may be dropped on any thread, with
// or without the GIL.
struct HeldBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

bool is_bytes_like(pybind11::handle object);

// Throws BufferError if `object` has no contiguous buffer.
HeldBytes hold_bytes(pybind11::handle object);

// The path of a str or os.PathLike, in the encoding of the file system. Throws TypeError.
std::string file_path(pybind11::handle path);

// Text as a file wants it, and back: UTF-8 in which bytes that are none survive a round trip.
std::string encode_text(pybind11::handle text);
pybind11::str decode_text(std::string_view bytes);

}  // namespace realm::bindings
