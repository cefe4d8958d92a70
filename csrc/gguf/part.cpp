#include "gguf/part.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"

namespace realm::gguf {

Part::Part(const std::string& path)
    : label_(quoted(path, 256)), file_(std::make_unique<const File>(path)) {}

Part::Part(std::span<const std::byte> bytes, std::shared_ptr<const void> owner)
    : label_("bytes"), bytes_(bytes), owner_(std::move(owner)) {}

void Part::read_at(uint64_t offset, std::span<std::byte> out) const {
  if (!range_fits(offset, out.size(), size())) {
    fail(ErrorCode::kFormat, label_, " has ", size(), " bytes, needed ", out.size(), " at byte ",
         offset);
  }
  if (file_) {
    file_->read_at(offset, out);
  } else {
    std::ranges::copy(bytes_.subspan(offset, out.size()), out.begin());
  }
}

std::span<const std::byte> Part::bytes() const {
  if (in_memory()) return bytes_;
  std::call_once(map_once_, [this] { mapping_.emplace(*file_); });
  return mapping_->bytes();
}

}  // namespace realm::gguf
