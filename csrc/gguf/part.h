// One file of a model, or one buffer that holds a file: where bytes come from. Reads are by
// position and survive truncation; mapped() is the zero-copy view with a mapping's risk
// (base/file.h). Shareable between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/file.h"

namespace realm::gguf {

class Part {
 public:
  explicit Part(const std::string& path);
  // `owner`, which may be null, is kept alive as long as the part.
  Part(std::span<const std::byte> bytes, std::shared_ptr<const void> owner);

  // For messages: the quoted path, or "bytes".
  const std::string& label() const { return label_; }
  uint64_t size() const { return file_ ? file_->size() : bytes_.size(); }
  // Whether the bytes are in memory already, so that bytes() costs and risks nothing.
  bool in_memory() const { return !file_; }

  // Throws kFormat if [offset, offset + out.size()) is not in the part (any more).
  void read_at(uint64_t offset, std::span<std::byte> out) const;
  // All bytes in place; maps a file at the first call.
  std::span<const std::byte> bytes() const;

 private:
  std::string label_;
  std::unique_ptr<const File> file_;  // null: in memory
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  mutable std::once_flag map_once_;
  mutable std::optional<MappedFile> mapping_;
};

}  // namespace realm::gguf
