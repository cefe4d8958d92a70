// A live answer as bytes: what was asked, what has been answered, and where the draws stand; no
// keys and values, which are computed anew. Our own format: a magic word, a version, fields in
// order, little-endian, and a SHA-256 over all of it, so that damage is refused before anything is
// read.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/request.h"

namespace realm {

struct Snapshot {
  EngineIdentity engine;
  RequestOptions
      options;  // prompt, params with the seed, adapters, priority; not space or deadline
  Request::Restored answer;
};

std::vector<std::byte> encode(const Snapshot& snapshot);

// Throws kFormat for bytes that encode() did not write. The values are not judged: options are to
// be validated as any others.
Snapshot decode_snapshot(std::span<const std::byte> bytes);

}  // namespace realm
