// A bounded little-endian reader that walks over the header of a part. Bytes come through a window
// that is filled by position (so a truncated file is an error, not a signal) and grows as the walk
// goes on; nothing is read or allocated beyond the bytes that are left. Every refusal names what
// was being read, the value and its byte offset. For one thread.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "gguf/part.h"

namespace realm::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF values are read as they lie");

class Cursor {
 public:
  explicit Cursor(const Part& part);

  uint64_t position() const { return window_offset_ + consumed_; }
  uint64_t remaining() const { return part_.size() - position(); }

  // What the coming fields belong to, as printed in every refusal: subject("key", "general.name").
  void subject(std::string_view kind, std::string_view name = {});

  // The next number. `field` says what it is, for the refusal when the file ends inside it.
  template <class T>
    requires std::integral<T> || std::floating_point<T>
  T number(const char* field) {
    T value;
    std::memcpy(&value, take(sizeof(T), field), sizeof(T));
    return value;
  }
  // The next `bytes` bytes; valid until the next call.
  std::string_view text(uint64_t bytes, const char* field) {
    return {reinterpret_cast<const char*>(take(bytes, field)), bytes};
  }
  // The next out.size() bytes, copied; meant for long arrays, which pass the window by.
  void copy(std::span<std::byte> out, const char* field);

  // Throws kFormat: "'a.gguf': key 'k': <parts> (byte <at>)".
  template <class... Parts>
  [[noreturn]] void refuse(uint64_t at, const Parts&... parts) const {
    fail(ErrorCode::kFormat, part_.label(), ": ", subject_, parts..., " (byte ", at, ")");
  }

 private:
  const std::byte* take(uint64_t bytes, const char* field) {
    if (bytes > window_.size() - consumed_) refill(bytes, field);
    const std::byte* data = window_.data() + consumed_;
    consumed_ += bytes;
    return data;
  }
  void refill(uint64_t bytes, const char* field);
  void require(uint64_t bytes, const char* field) const;

  const Part& part_;
  std::string subject_;
  std::vector<std::byte> buffer_;
  std::span<const std::byte> window_;  // of buffer_, or the whole part when it is in memory
  uint64_t window_offset_ = 0;         // of window_ in the part
  uint64_t consumed_ = 0;              // of window_
};

}  // namespace realm::gguf
