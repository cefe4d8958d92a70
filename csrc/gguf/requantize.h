// The file quantizer: one GGUF in, one GGUF out with its weights in another format or mix of
// formats, both on disk. Memory is bounded by a few chunks of values, whatever the model. The
// choice of each tensor's format follows the reference quantizer's published rules without an
// importance matrix (gguf/mixes.h), so files have the layout that other engines expect.
//
// Blocking; call it from any thread, without locks held. Calls are independent.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gguf/rewriter.h"

namespace realm::gguf {

struct RequantizeOptions {
  // A mix ("Q4_K_M", "Q5_K_S", ...) or a format ("Q8_0", "F16", ...), any case; see all_mixes().
  std::string target = "Q4_K_M";
  // Every matrix, the output head too, in the target's base format; the mix has no rules then.
  bool pure = false;
  // Allows to encode weights that are quantized already; each encoding adds its own error.
  bool allow_requantize = false;
  // Decodes what was encoded to report its error; doubles the work of the simplest formats.
  bool measure_error = true;
  // 0: one per processor that this process may use.
  int n_threads = 0;
  // Called on the calling thread after every few megabytes, with the bytes of input done and in
  // all. Returning false cancels.
  std::function<bool(uint64_t done, uint64_t total)> progress;
};

struct RequantizeReport {
  std::vector<RequantizedTensor> tensors;  // in file order
  uint64_t bytes_in = 0;                   // of tensor data
  uint64_t bytes_out = 0;
};

// The two paths may be equal; on any failure out_path is as it was before. Throws kInvalidRequest
// for an unknown target or an input that is quantized already, kFormat for an input that cannot be
// read or has a NaN or infinity that the new format cannot hold, kCancelled, kIo.
RequantizeReport requantize(const std::string& in_path, const std::string& out_path,
                            const RequantizeOptions& options);

}  // namespace realm::gguf
