#include "fuzz/mutate_safetensors.h"

#include <cstring>
#include <random>

#include "base/text.h"

namespace realm::test {

namespace {

constexpr int kRank = 4;

struct Target {
  const char* module;
  int rows, cols;
};
constexpr Target kTargets[] = {
    {"self_attn.q_proj", 64, 64}, {"self_attn.v_proj", 32, 64}, {"mlp.down_proj", 64, 128}};

std::string in_quotes(const std::string& text) {
  return "\"" + text + "\"";
}

std::string pair_of(uint64_t a, uint64_t b) {
  return concat("[", a, ",", b, "]");
}

std::string header_of(const std::vector<HeaderEntry>& entries) {
  std::string text = R"({"__metadata__":{"format":"pt"})";
  for (const HeaderEntry& e : entries) {
    text += concat(",", in_quotes(e.name), R"(:{"dtype":)", e.dtype, R"(,"shape":)", e.shape,
                   R"(,"data_offsets":)", e.offsets, "}");
  }
  return text + "}";
}

std::string file_of(std::string header, const std::string& data) {
  header += std::string((8 - header.size() % 8) % 8, ' ');
  const uint64_t n = header.size();
  return std::string(reinterpret_cast<const char*>(&n), sizeof n) + header + data;
}

}  // namespace

SafetensorsMutator::SafetensorsMutator(uint64_t seed) : seed_(seed) {
  std::mt19937 random(1);
  const auto add_tensor = [&](const std::string& name, int rows, int cols) {
    const size_t begin = data_.size();
    for (int i = 0; i < rows * cols; ++i) {
      const float value = static_cast<float>(random() % 2001) / 10000.0f - 0.1f;
      data_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    entries_.push_back({name, in_quotes("F32"),
                        pair_of(static_cast<uint64_t>(rows), static_cast<uint64_t>(cols)),
                        pair_of(begin, data_.size())});
  };
  for (int layer = 0; layer < 2; ++layer) {
    for (const Target& target : kTargets) {
      const std::string module =
          concat("base_model.model.model.layers.", layer, ".", target.module);
      add_tensor(module + ".lora_A.weight", kRank, target.cols);
      add_tensor(module + ".lora_B.weight", target.rows, kRank);
    }
  }
  add("control", "the base", Verdict::kLoad, [this] { return base(); });
  add_lengths();
  add_headers();
  for (size_t i = 0; i < entries_.size(); ++i) {
    add_entries(i);
    add_values(i);
  }
  add_cuts();
}

std::string SafetensorsMutator::base() const {
  return file_of(header_of(entries_), data_);
}

void SafetensorsMutator::add(const char* category, std::string what, Verdict expect,
                             std::function<std::string()> make) {
  catalogue_.push_back({category, std::move(what), expect, std::move(make)});
}

void SafetensorsMutator::add_entry(const char* category, size_t idx, std::string what,
                                   Verdict expect, std::function<void(HeaderEntry&)> edit) {
  add(category, concat(entries_[idx].name.substr(23), ": ", what), expect, [this, idx, edit] {
    std::vector<HeaderEntry> entries = entries_;
    edit(entries[idx]);
    return file_of(header_of(entries), data_);
  });
}

void SafetensorsMutator::add_lengths() {
  const uint64_t size = base().size(), header = size - 8 - data_.size();
  for (const uint64_t n : {uint64_t{0}, uint64_t{1}, uint64_t{8}, header - 8, header + 1,
                           header + 8, size - 8, size - 7, size, uint64_t{1} << 31,
                           uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX - 7, UINT64_MAX}) {
    add("length", concat("header of ", n, " bytes"), Verdict::kReject, [this, n] {
      std::string file = base();
      std::memcpy(file.data(), &n, sizeof n);
      return file;
    });
  }
}

void SafetensorsMutator::add_headers() {
  const auto replace = [&](const char* what, std::string header) {
    add("json", what, Verdict::kReject,
        [this, header = std::move(header)] { return file_of(header, data_); });
  };
  for (const char* text : {"", "{", "[]", "null", "0", "\"\"", "\xff\xfe", "\xef\xbb\xbf{}",
                           "{'a':1}", "{\"a\":}", "{}", "{\"a\":NaN}"}) {
    replace(text, text);
  }
  replace("deep arrays", std::string(200000, '['));
  std::string deep;
  for (int i = 0; i < 50000; ++i) deep += "{\"a\":";
  replace("deep objects", deep);
  replace("a long key", "{\"" + std::string(2000000, 'a') + "\":1}");
  const std::string whole = header_of(entries_);
  replace("text behind it", whole + "x");
  replace("twice", whole + whole);
  replace("a comma too many", whole.substr(0, whole.size() - 1) + ",}");
  replace("a comment", whole.substr(0, whole.size() - 1) + "/**/}");
  replace("space before it", " " + whole);
  replace("a key twice", "{" + in_quotes(entries_[0].name) +
                             R"(:{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)" +
                             whole.substr(1));
  replace("metadata of numbers", R"({"__metadata__":{"a":1})" + whole.substr(whole.find("},") + 1));
  std::string many = "{";
  for (int i = 0; i < 150000; ++i)
    many += concat(i ? "," : "", "\"e", i, R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})");
  replace("150,000 empty tensors", many + "}");
}

void SafetensorsMutator::add_entries(size_t idx) {
  const HeaderEntry& e = entries_[idx];
  const auto edit = [&](const char* category, std::string HeaderEntry::* member, std::string value,
                        Verdict expect) {
    add_entry(category, idx, value.substr(0, 40), expect,
              [member, value](HeaderEntry& entry) { entry.*member = value; });
  };
  for (const char* offsets :
       {"[0,0]", "[8,0]", "[0,1]", "[1,2]", "[0,99999999]", "[18446744073709551608,8]", "[-8,8]",
        "[0.0,8.0]", "[\"0\",\"8\"]", "[0]", "[0,8,8]", "[]", "null", "{}"}) {
    edit("offsets", &HeaderEntry::offsets, offsets, Verdict::kReject);
  }
  edit("offsets", &HeaderEntry::offsets, entries_[(idx + 1) % entries_.size()].offsets,
       Verdict::kReject);
  for (const char* shape : {"[]", "[0,64]", "[4294967296,4294967296]", "[4611686018427387904,4]",
                            "[9223372036854775808,1]", "[-4,-64]", "[4.0,64.0]", "\"4,64\"", "null",
                            "[1,1,1,1,1,4,64]", "[4,65]"}) {
    edit("shape", &HeaderEntry::shape, shape, Verdict::kReject);
  }
  for (const char* dtype : {"\"F64\"", "\"F16\"", "\"I8\"", "\"f32\"", "\"\"", "\"X\"", "null", "0",
                            "[\"F32\"]", "\"I32\"", "\"U32\""}) {
    edit("dtype", &HeaderEntry::dtype, dtype, Verdict::kReject);
  }
  for (const char* name :
       {"", "x", "base_model.model.model.layers.99.mlp.down_proj.lora_A.weight", "../../etc/passwd",
        "base_model.model.model.layers.0.mlp.down_proj.lora_C.weight",
        "base_model.model.model.layers.18446744073709551616.mlp.down_proj.lora_A.weight",
        "a\\ud800", "base_model.model.model.layers.-1.mlp.down_proj.lora_A.weight"}) {
    edit("name", &HeaderEntry::name, name, Verdict::kReject);
  }
  edit("name", &HeaderEntry::name, e.name + std::string(65536, 'x'), Verdict::kReject);
  edit("name", &HeaderEntry::name, e.name + "\\u0000", Verdict::kReject);
}

void SafetensorsMutator::add_values(size_t idx) {
  const size_t begin = std::stoul(entries_[idx].offsets.substr(1));
  const auto put = [&](const char* what, uint32_t bits, Verdict expect) {
    add("values", concat(entries_[idx].name.substr(23), ": one ", what), expect,
        [this, begin, bits] {
          std::string data = data_;
          std::memcpy(data.data() + begin, &bits, sizeof bits);
          return file_of(header_of(entries_), data);
        });
  };
  put("NaN", 0x7fc00000, Verdict::kReject);
  put("signalling NaN", 0x7f800001, Verdict::kReject);
  put("infinity", 0xff800000, Verdict::kReject);
  put("largest float", 0x7f7fffff, Verdict::kLoad);
  put("smallest float", 1, Verdict::kLoad);
}

void SafetensorsMutator::add_cuts() {
  const size_t size = base().size();
  for (size_t cut = 0; cut < size; cut += cut < 1024 ? 3 : 331) {
    add("cut", concat("at ", cut), Verdict::kReject, [this, cut] { return base().substr(0, cut); });
  }
  add("cut", "the last byte", Verdict::kReject,
      [this] { return base().substr(0, base().size() - 1); });
  add("hole", "64 bytes behind the data", Verdict::kReject,
      [this] { return base() + std::string(64, '\0'); });
}

Mutant SafetensorsMutator::structured(size_t i) const {
  const Edit& edit = catalogue_[i];
  return {edit.category, edit.what, edit.expect, edit.make(), nullptr};
}

Mutant SafetensorsMutator::random(uint64_t i) const {
  std::mt19937_64 random(seed_ * 1000003 + i);
  std::string file = base();
  const size_t header_end = file.size() - data_.size();
  const size_t n_flips = size_t{1} << random() % 4;
  for (size_t k = 0; k < n_flips; ++k) {
    const size_t at = random() % (random() % 10 == 0 ? file.size() : header_end);
    file[at] = random() % 2 ? static_cast<char>(file[at] ^ 1 << random() % 8)
                            : static_cast<char>(random());
  }
  return {"flips", concat("#", i), Verdict::kEither, file, nullptr};
}

}  // namespace realm::test
