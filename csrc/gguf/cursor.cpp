#include "gguf/cursor.h"

#include <algorithm>

namespace realm::gguf {

namespace {

// A header without a vocabulary fits the first window; one of 10 MB takes some ten reads.
constexpr uint64_t kFirstWindow = uint64_t{1} << 16;
constexpr uint64_t kLargestWindow = uint64_t{1} << 22;

}  // namespace

Cursor::Cursor(const Part& part) : part_(part) {
  if (part.in_memory()) window_ = part.bytes();
}

void Cursor::subject(std::string_view kind, std::string_view name) {
  subject_ = kind;
  if (!name.empty()) subject_ += " " + quoted(name);
  subject_ += ": ";
}

void Cursor::require(uint64_t bytes, const char* field) const {
  if (bytes <= remaining()) return;
  refuse(position(), "the file ends inside the ", field, ", which needs ", bytes, " bytes where ",
         remaining(), " are left");
}

void Cursor::refill(uint64_t bytes, const char* field) {
  require(bytes, field);
  window_offset_ = position();
  consumed_ = 0;
  const uint64_t grown = std::clamp(uint64_t{2} * buffer_.size(), kFirstWindow, kLargestWindow);
  const uint64_t left = part_.size() - window_offset_;
  buffer_.resize(std::min(std::max(bytes, grown), left));
  window_ = {};
  part_.read_at(window_offset_, buffer_);
  window_ = buffer_;
}

void Cursor::copy(std::span<std::byte> out, const char* field) {
  require(out.size(), field);
  const uint64_t buffered = std::min<uint64_t>(out.size(), window_.size() - consumed_);
  std::ranges::copy(window_.subspan(consumed_, buffered), out.begin());
  consumed_ += buffered;
  const auto rest = out.subspan(buffered);
  if (rest.empty()) return;
  part_.read_at(position(), rest);
  window_offset_ = position() + rest.size();
  window_ = {};
  consumed_ = 0;
}

}  // namespace realm::gguf
