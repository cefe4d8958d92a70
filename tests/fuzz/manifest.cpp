#include "fuzz/manifest.h"

#include <sstream>
#include <stdexcept>
#include <string_view>

namespace realm::test {

namespace {

// The member's text with escapes left as they are, except \" and \\; enough to match descriptions.
std::string member(const std::string& line, const std::string& name) {
  const std::string key = "\"" + name + "\": \"";
  const size_t begin = line.find(key);
  if (begin == std::string::npos)
    throw std::runtime_error("manifest line without " + name + ": " + line);
  std::string text;
  for (size_t i = begin + key.size(); i < line.size() && line[i] != '"'; ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) ++i;
    text += line[i];
  }
  return text;
}

Verdict verdict(const std::string& expect) {
  if (expect == "reject") return Verdict::kReject;
  if (expect == "load") return Verdict::kLoad;
  return Verdict::kEither;
}

constexpr const char* kFitsItsData = "the shape fits the data; the model holds it against its own";
constexpr const char* kFitsItsSlot =
    "the size is the same up to padding, or nothing follows; the model holds type and shape "
    "against its own";
constexpr const char* kIsAName = "a valid name; only the architecture misses the old one";

struct Concern {
  const char* category;
  const char* what;  // part of the description; "" matches all
  const char* reason;
};

// The first row that matches gives the reason; an empty one says that the container must refuse.
constexpr Concern kConcerns[] = {
    {"header", "no keys, no tensors", ""},
    {"header", "no tensors", "a vocabulary-only file has none"},
    {"missing", "", "which tensors and keys there must be is the architecture's to say"},
    {"arch", "", "the architecture's name means nothing to the container"},
    {"retype", "token", "the vocabulary's types are the tokenizer's to check"},
    {"tokenizer", "", "the vocabulary's lengths are the tokenizer's to check"},
    {"utf8", "tensor name is format string", kIsAName},
    {"utf8", "tensor name is path", kIsAName},
    {"text_size", "tensor name 0 bytes", ""},
    {"text_size", "tensor name 128 bytes", ""},
    {"text_size", "tensor name 65535 bytes", ""},
    {"text_size", "tensor name 65536 bytes", ""},
    {"text_size", "tensor name 1048576 bytes", ""},
    {"text_size", "tensor name", kIsAName},
    {"shape", "swapped", kFitsItsData},
    {"shape", "flattened", kFitsItsData},
    {"shape", "dims doubled with data to match", kFitsItsData},
    {"shape", "row -1", kFitsItsSlot},
    {"shape", "rows -1", kFitsItsSlot},
    {"shape", "row +1", kFitsItsSlot},
    {"shape", "rows +1", kFitsItsSlot},
    {"ttype", "data left", kFitsItsSlot},
};

}  // namespace

std::vector<ManifestEntry> read_manifest(const std::string& lines) {
  std::vector<ManifestEntry> entries;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    entries.push_back({member(line, "file"), member(line, "category"), member(line, "desc"),
                       verdict(member(line, "expect"))});
  }
  return entries;
}

const char* model_concern(const ManifestEntry& entry) {
  if (entry.expect != Verdict::kReject) return nullptr;
  for (const Concern& concern : kConcerns) {
    if (entry.category != concern.category) continue;
    if (entry.what.find(concern.what) == std::string::npos) continue;
    return *concern.reason == '\0' ? nullptr : concern.reason;
  }
  return nullptr;
}

}  // namespace realm::test
