#include "fuzz/mutate.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "base/text.h"

namespace realm::test {

namespace {

const std::vector<uint64_t> kExtremes = {0,
                                         1,
                                         2,
                                         3,
                                         4,
                                         5,
                                         7,
                                         8,
                                         9,
                                         12,
                                         13,
                                         31,
                                         32,
                                         33,
                                         64,
                                         255,
                                         256,
                                         65535,
                                         65536,
                                         uint64_t{1} << 20,
                                         (uint64_t{1} << 31) - 1,
                                         uint64_t{1} << 31,
                                         (uint64_t{1} << 32) - 1,
                                         uint64_t{1} << 32,
                                         uint64_t{1} << 42,
                                         (uint64_t{1} << 60) + 1,
                                         uint64_t{1} << 61,
                                         uint64_t{1} << 62,
                                         (uint64_t{1} << 63) - 1,
                                         uint64_t{1} << 63,
                                         UINT64_MAX - 63,
                                         UINT64_MAX - 31,
                                         UINT64_MAX - 7,
                                         UINT64_MAX - 1,
                                         UINT64_MAX};

const std::set<uint64_t> kKnownFormats = {0,  1,  2,  3,  6,  7,  8,  10, 11, 12, 13, 14, 15, 16,
                                          17, 18, 19, 20, 21, 22, 23, 28, 29, 30, 34, 35, 39, 40};

// A draw depends on (seed, stream, counter) alone, by splitmix64, so mutants are independent.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t stream) : state_(mix(seed + 0x9e3779b97f4a7c15u * (stream + 1))) {}
  uint64_t next() { return mix(state_ + 0x9e3779b97f4a7c15u * ++counter_); }
  uint64_t below(uint64_t n) { return n == 0 ? 0 : next() % n; }
  template <class T>
  const T& one_of(const std::vector<T>& items) {
    return items[below(items.size())];
  }

 private:
  static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
  }
  uint64_t state_;
  uint64_t counter_ = 0;
};

std::string patched(std::string bytes, uint64_t offset, uint64_t size, uint64_t value) {
  return bytes.replace(offset, size, le(value).substr(0, size));
}

}  // namespace

Mutator::Mutator(std::string base, uint64_t seed) : base_(std::move(base)), seed_(seed) {
  header_end_ = walk(base_, raw_, fields_);
  if (raw_.bytes() != base_) throw std::runtime_error("the base does not survive a rewrite");
  add_header_edits();
  add_field_edits();
  add_name_edits();
  add_value_edits();
  add_tensor_edits();
  add_layout_edits();
  add_cuts();
}

Mutant Mutator::structured(size_t i) const {
  const Edit& edit = catalogue_[i];
  return {edit.category, edit.what, edit.expect, edit.make()};
}

void Mutator::add(const char* category, std::string what, Verdict expect,
                  std::function<std::string()> make) {
  catalogue_.push_back({category, std::move(what), expect, std::move(make)});
}

void Mutator::add_raw(const char* category, std::string what, Verdict expect,
                      std::function<void(RawGguf&)> edit) {
  add(category, std::move(what), expect, [this, edit = std::move(edit)] {
    RawGguf raw = raw_;
    edit(raw);
    return raw.bytes();
  });
}

// ---- fields in place
// ------------------------------------------------------------------------------------

Verdict Mutator::verdict_of(const Field& field, uint64_t value) const {
  const auto reject_if = [](bool bad) { return bad ? Verdict::kReject : Verdict::kEither; };
  switch (field.kind) {
    case Field::kMagic:
    case Field::kOffset:  // only one place leaves neither gap nor overlap
      return Verdict::kReject;
    case Field::kVersion:
      return value == 2 ? Verdict::kLoad : Verdict::kReject;
    case Field::kTensorCount:
    case Field::kKeyCount:
    case Field::kTextLength:
    case Field::kArrayLength:
      return reject_if(value > base_.size());
    case Field::kValueType:
      return reject_if(value > F64);
    case Field::kElementType:
      return reject_if(value > F64 || value == ARRAY);
    case Field::kBool:
      return value > 1 ? Verdict::kReject : Verdict::kLoad;
    case Field::kScalar:
      return Verdict::kLoad;
    case Field::kRank:
      return reject_if(value < 1 || value > 4);
    case Field::kExtent:
      return reject_if(value == 0 || value > uint64_t{1} << 40);
    case Field::kFormat:
      return reject_if(!kKnownFormats.contains(value));
    case Field::kText:
      break;
  }
  return Verdict::kEither;
}

void Mutator::add_field_edits() {
  for (const Field& field : fields_) {
    if (field.kind == Field::kText || field.kind == Field::kMagic) continue;
    const uint64_t mask = field.size == 8 ? UINT64_MAX : (uint64_t{1} << 8 * field.size) - 1;
    std::set<uint64_t> values;
    for (const uint64_t value : kExtremes) values.insert(value & mask);
    for (const uint64_t value :
         {uint64_t{base_.size()}, base_.size() - field.offset, uint64_t{0} - field.offset}) {
      values.insert(value & mask);
    }
    const uint64_t present = number_at(base_, field.offset, field.size);
    values.insert((present + 1) & mask);
    values.insert((present - 1) & mask);
    values.erase(present);
    for (const uint64_t value : values) {
      const Field at = field;
      add("field",
          concat("kind ", field.kind, " of ", quoted(field.owner), " at ", field.offset, " = ",
                 value),
          verdict_of(field, value),
          [this, at, value] { return patched(base_, at.offset, at.size, value); });
    }
  }
}

// At each field's edges, one byte to either side, and through the data.
void Mutator::add_cuts() {
  std::set<uint64_t> cuts = {0, header_end_, base_.size() / 2, base_.size() - 32, base_.size() - 1};
  for (const Field& field : fields_) {
    for (const uint64_t at : {field.offset, field.offset + field.size}) {
      cuts.insert({at, at + 1});
      if (at > 0) cuts.insert(at - 1);
    }
  }
  for (const uint64_t cut : cuts) {
    if (cut >= base_.size()) continue;
    add("truncate", concat("cut at ", cut), Verdict::kReject,
        [this, cut] { return base_.substr(0, cut); });
  }
}

// ---- whole files
// ----------------------------------------------------------------------------------------

void Mutator::add_header_edits() {
  add("control", "unchanged", Verdict::kLoad, [this] { return base_; });
  add_raw("control", "junk after the last tensor", Verdict::kLoad,
          [](RawGguf& raw) { raw.tail = "junk"; });
  add_raw("control", "keys in reverse order", Verdict::kLoad,
          [](RawGguf& raw) { std::ranges::reverse(raw.keys); });
  add_raw("control", "no tensors", Verdict::kLoad, [](RawGguf& raw) { raw.tensors.clear(); });
  add_raw("control", "no keys", Verdict::kLoad, [](RawGguf& raw) { raw.keys.clear(); });
  add_raw("header", "nothing", Verdict::kReject, [](RawGguf& raw) {
    raw.keys.clear();
    raw.tensors.clear();
  });
  for (const char* magic : {"FUGG", "GGUf", "GGML", "PK\3\4",
                            "\x7f"
                            "ELF"}) {
    add_raw("header", concat("magic ", quoted(magic)), Verdict::kReject,
            [magic](RawGguf& raw) { raw.magic = magic; });
  }
  add("header", "big-endian header", Verdict::kReject, [this] {
    std::string bytes = base_;
    std::reverse(bytes.begin() + 4, bytes.begin() + 8);
    return bytes;
  });
}

void Mutator::add_name_edits() {
  const std::pair<std::string, Verdict> names[] = {{"", Verdict::kReject},
                                                   {"\x80\x81", Verdict::kReject},
                                                   {"\xc0\xaf", Verdict::kReject},
                                                   {"\xed\xa0\x80", Verdict::kReject},
                                                   {"abc\xe2\x82", Verdict::kReject},
                                                   {"\xff", Verdict::kReject},
                                                   {std::string("a\0b", 3), Verdict::kReject},
                                                   {std::string(1, '\0'), Verdict::kReject},
                                                   {"\xf4\x90\x80\x80", Verdict::kReject},
                                                   {"a\nb", Verdict::kReject},
                                                   {"\x1b[2J", Verdict::kReject},
                                                   {"%s%s%n", Verdict::kLoad},
                                                   {"../../etc/passwd", Verdict::kLoad},
                                                   {"\xf0\x9f\x98\x80", Verdict::kLoad},
                                                   {std::string(127, 'n'), Verdict::kLoad}};
  for (const auto& [name, verdict] : names) {
    for (size_t i = 0; i < raw_.keys.size(); i += 4) {
      add_raw("name", concat("key #", i, " = ", quoted(name)), verdict,
              [i, name](RawGguf& raw) { raw.keys[i].key = name; });
    }
    for (size_t i = 0; i < raw_.tensors.size(); ++i) {
      add_raw("name", concat("tensor #", i, " = ", quoted(name)), verdict,
              [i, name](RawGguf& raw) { raw.tensors[i].name = name; });
    }
  }
  for (const uint64_t n : {128u, 65535u, 65536u, 1u << 20}) {
    const Verdict of_key = n <= 65535 ? Verdict::kLoad : Verdict::kReject;
    add_raw("name", concat("key of ", n, " bytes"), of_key,
            [n](RawGguf& raw) { raw.keys.push_back(u32_key(std::string(n, 'k'), 1)); });
    add_raw("name", concat("tensor name of ", n, " bytes"), Verdict::kReject,
            [n](RawGguf& raw) { raw.tensors[0].name = std::string(n, 'n'); });
    add_raw("name", concat("text of ", n, " bytes"), Verdict::kLoad,
            [n](RawGguf& raw) { raw.keys.push_back(text_key("x.text", std::string(n, '\xff'))); });
  }
  for (size_t i = 0; i < raw_.keys.size(); ++i) {
    add_raw("duplicate", concat("key #", i), Verdict::kReject,
            [i](RawGguf& raw) { raw.keys.push_back(raw.keys[i]); });
    add_raw("duplicate", concat("key #", i, " with another type"), Verdict::kReject,
            [i](RawGguf& raw) { raw.keys.push_back(text_key(raw.keys[i].key, "x")); });
  }
  for (size_t i = 0; i < raw_.tensors.size(); ++i) {
    add_raw("duplicate", concat("tensor #", i), Verdict::kReject, [i](RawGguf& raw) {
      raw.tensors.push_back(raw.tensors[i]);
      raw.place();
    });
  }
}

namespace {

std::string nested_arrays(uint64_t depth) {
  std::string value;
  for (uint64_t i = 0; i < depth; ++i) value += le(uint32_t{ARRAY}) + le(uint64_t{1});
  return value + le(uint32_t{U8}) + le(uint64_t{0});
}

RawKey arrays(uint64_t depth) {
  return {"x.deep", ARRAY, nested_arrays(depth)};
}

}  // namespace

void Mutator::add_value_edits() {
  for (uint32_t type = 0; type <= F64; ++type) {
    if (type == ARRAY) continue;
    const std::string value = type == TEXT ? counted("x") : std::string(scalar_bytes(type), '\1');
    add_raw("value", concat("extra key of type ", type), Verdict::kLoad,
            [=](RawGguf& raw) { raw.keys.push_back({"x.extra", type, value}); });
    add_raw("value", concat("extra empty array of type ", type), Verdict::kLoad,
            [=](RawGguf& raw) { raw.keys.push_back(array_key("x.extra", type, 0, "")); });
    add_raw("value", concat("extra array of type ", type), Verdict::kLoad, [=](RawGguf& raw) {
      raw.keys.push_back(array_key("x.extra", type, 3, value + value + value));
    });
    for (const uint64_t n : {uint64_t{1} << 20, uint64_t{1} << 32, uint64_t{1} << 61, UINT64_MAX}) {
      add_raw("array_bomb", concat(n, " elements of type ", type, " declared"), Verdict::kReject,
              [=](RawGguf& raw) { raw.keys.push_back(array_key("x.bomb", type, n, "")); });
    }
  }
  for (const uint64_t depth : {1, 2, 100, 100000}) {
    add_raw("nested", concat("arrays ", depth, " deep"), Verdict::kReject,
            [=](RawGguf& raw) { raw.keys.push_back(arrays(depth)); });
    add_raw("nested", concat("arrays ", depth, " deep, first"), Verdict::kReject,
            [=](RawGguf& raw) { raw.keys.insert(raw.keys.begin(), arrays(depth)); });
  }
  add_raw("bulk", "200000 empty texts", Verdict::kLoad, [](RawGguf& raw) {
    raw.keys.push_back(array_key("x", TEXT, 200000, std::string(200000 * 8, '\0')));
  });
  add_raw("bulk", "20000 keys", Verdict::kLoad, [](RawGguf& raw) {
    for (int i = 0; i < 20000; ++i) raw.keys.push_back({concat("x.", i), U8, "\1"});
  });
  add_raw("bulk", "70000 keys", Verdict::kReject, [](RawGguf& raw) {
    for (int i = 0; i < 70000; ++i) raw.keys.push_back({concat("x.", i), U8, "\1"});
  });
  add_raw("bulk", "20000 tensors", Verdict::kLoad, [](RawGguf& raw) {
    for (int i = 0; i < 20000; ++i) raw.tensors.push_back({concat("x.", i), {1}, 0, 0, le(1.0f)});
    raw.place();
  });
}

// ---- tensors
// --------------------------------------------------------------------------------------------

void Mutator::add_tensor_edits() {
  using Extents = std::vector<uint64_t>;
  const Extents bad[] = {{},
                         {0},
                         {32, 0},
                         {0, 32},
                         {32, 1, 1, 1, 1},
                         Extents(64, 1),
                         {uint64_t{1} << 32, uint64_t{1} << 32},
                         {(uint64_t{1} << 63) + 32, 2},
                         {UINT64_MAX, 1},
                         {32, (uint64_t{1} << 59) + 1},
                         {uint64_t{1} << 62},
                         {32, (uint64_t{1} << 42) + 1},
                         {32, 1, uint64_t{1} << 31},
                         Extents(4, 1 << 16)};
  for (size_t i = 0; i < raw_.tensors.size(); ++i) {
    for (const Extents& extents : bad) {
      std::string text;
      for (const uint64_t extent : extents) text += concat(extent, " ");
      add_raw("shape", concat("tensor #", i, " of ", text.substr(0, 64)), Verdict::kReject,
              [=](RawGguf& raw) { raw.tensors[i].extents = extents; });
    }
    add_raw("shape", concat("tensor #", i, " with twice the rows, unmoved"), Verdict::kReject,
            [=](RawGguf& raw) { raw.tensors[i].extents.back() *= 2; });
    for (uint32_t type = 0; type < 48; ++type) {
      if (type == raw_.tensors[i].type) continue;
      const Verdict verdict = kKnownFormats.contains(type) ? Verdict::kEither : Verdict::kReject;
      add_raw("format", concat("tensor #", i, " as ", type), verdict,
              [=](RawGguf& raw) { raw.tensors[i].type = type; });
    }
    for (size_t j = 0; j < raw_.tensors.size(); ++j) {
      if (i == j) continue;
      add_raw("overlap", concat("tensor #", i, " over #", j), Verdict::kReject,
              [=](RawGguf& raw) { raw.tensors[i].offset = raw.tensors[j].offset; });
    }
  }
  add_raw("overlap", "every tensor at 0", Verdict::kReject, [](RawGguf& raw) {
    for (RawTensor& tensor : raw.tensors) tensor.offset = 0;
  });
}

void Mutator::add_layout_edits() {
  add_raw("layout", "infos in reverse order", Verdict::kLoad,
          [](RawGguf& raw) { std::ranges::reverse(raw.tensors); });
  add_raw("layout", "data in reverse order", Verdict::kLoad, [](RawGguf& raw) {
    std::ranges::reverse(raw.tensors);
    raw.place();
    std::ranges::reverse(raw.tensors);
  });
  for (const uint64_t gap : {uint64_t{32}, uint64_t{4096}}) {
    add_raw("layout", concat("gaps of ", gap), Verdict::kReject, [gap](RawGguf& raw) {
      for (size_t i = 0; i < raw.tensors.size(); ++i) raw.tensors[i].offset += i * gap;
    });
  }
  for (const uint32_t alignment : {8u, 16u, 32u, 64u, 4096u, 65536u}) {
    add_raw("layout", concat("alignment ", alignment, ", layout to match"), Verdict::kLoad,
            [alignment](RawGguf& raw) {
              raw.keys.push_back(u32_key("general.alignment", alignment));
              raw.alignment = alignment;
              raw.place();
            });
  }
  for (const uint32_t alignment : {0u, 1u, 2u, 3u, 4u, 33u, 48u, 1u << 17, 1u << 31, UINT32_MAX}) {
    add_raw(
        "layout", concat("alignment ", alignment, " said"), Verdict::kReject,
        [alignment](RawGguf& raw) { raw.keys.push_back(u32_key("general.alignment", alignment)); });
  }
  add_raw("layout", "alignment as u64", Verdict::kReject,
          [](RawGguf& raw) { raw.keys.push_back({"general.alignment", U64, le<uint64_t>(32)}); });
  for (const uint16_t count : {0, 1, 2, 512, 513, 65535}) {
    add_raw("split", concat("split.count ", count), count <= 1 ? Verdict::kLoad : Verdict::kReject,
            [count](RawGguf& raw) { raw.keys.push_back({"split.count", U16, le(count)}); });
  }
}

// ---- random bytes
// ---------------------------------------------------------------------------------------

namespace {

std::string flip_bytes(std::string bytes, Draws& draws, uint64_t limit) {
  const uint64_t n = uint64_t{1} << draws.below(6);
  for (uint64_t i = 0; i < n; ++i) {
    char& byte = bytes[draws.below(limit)];
    const char choices[] = {static_cast<char>(byte ^ (1 << draws.below(8))),
                            static_cast<char>(draws.next()),
                            static_cast<char>(byte + 1),
                            static_cast<char>(byte - 1),
                            '\0',
                            '\xff'};
    byte = choices[draws.below(std::size(choices))];
  }
  return bytes;
}

std::string havoc(std::string bytes, Draws& draws, uint64_t header_end) {
  const uint64_t at = 4 + draws.below(header_end - 4);
  const uint64_t n = std::min<uint64_t>(uint64_t{1} << draws.below(9), bytes.size() - at);
  const std::string piece = bytes.substr(at, n);
  switch (draws.below(6)) {
    case 0:
      return bytes.erase(at, n);
    case 1:
      return bytes.insert(at, n, static_cast<char>(draws.next()));
    case 2:
      return bytes.insert(at, piece + piece);
    case 3:
      return bytes.replace(at, n, n, '\0');
    case 4:
      return bytes.replace(at, n, n, '\xff');
    default:
      return bytes.replace(at, std::min<uint64_t>(n, 8), le(draws.one_of(kExtremes)));
  }
}

std::string splice(std::string bytes, Draws& draws, uint64_t header_end) {
  const uint64_t a = 4 + draws.below(header_end - 4);
  const uint64_t b = 4 + draws.below(header_end - 4);
  return bytes.erase(std::min(a, b), std::max(a, b) - std::min(a, b));
}

}  // namespace

Mutant Mutator::random(uint64_t i) const {
  Draws draws(seed_, i);
  const std::string what = concat("seed ", seed_, " index ", i);
  switch (i % 5) {
    case 0: {
      const uint64_t limit = draws.below(8) == 0 ? base_.size() : header_end_;
      return {"byteflip", what, Verdict::kEither, flip_bytes(base_, draws, limit)};
    }
    case 1:
      return {"havoc", what, Verdict::kEither, havoc(base_, draws, header_end_)};
    case 2:
      return {"splice", what, Verdict::kEither, splice(base_, draws, header_end_)};
    case 3: {
      const uint64_t cut = draws.below(base_.size());
      return {"cut", concat(what, ", at ", cut), Verdict::kReject, base_.substr(0, cut)};
    }
    default:
      break;
  }
  std::string bytes = base_;
  for (uint64_t n = 2 + draws.below(3); n-- > 0;) {
    const Field& field = draws.one_of(fields_);
    if (field.kind == Field::kText) continue;
    bytes = patched(std::move(bytes), field.offset, field.size, draws.one_of(kExtremes));
  }
  return {"stacked", what, Verdict::kEither, bytes};
}

}  // namespace realm::test
