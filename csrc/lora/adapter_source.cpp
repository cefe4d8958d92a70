#include "lora/adapter_source.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "gguf/reader.h"
#include "lora/safetensors.h"

namespace realm::lora {

namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigName = "adapter_config.json";
constexpr const char* kWeightsName = "adapter_model.safetensors";
constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;

struct Contents {
  std::shared_ptr<std::byte[]> memory;
  std::span<const std::byte> bytes;
};

Contents slurp(const std::string& path) {
  const File file(path);
  Contents contents;
  contents.memory = std::make_shared_for_overwrite<std::byte[]>(file.size());
  file.read_at(0, {contents.memory.get(), file.size()});
  contents.bytes = {contents.memory.get(), file.size()};
  return contents;
}

std::string read_config(const std::string& path) {
  const File file(path);
  if (file.size() > kMaxConfigBytes) {
    fail(ErrorCode::kFormat, quoted(path, 256), " has ", file.size(),
         " bytes; a configuration has at most ", kMaxConfigBytes);
  }
  std::string text(file.size(), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() &&
         std::ranges::equal(bytes.first(magic.size()), std::as_bytes(std::span(magic)));
}

[[noreturn]] void refuse_pickle(const std::string& label) {
  fail(ErrorCode::kAdapter, label,
       " is a pickled checkpoint, which can run any program when it is loaded; write it as "
       "safetensors: load it once with PEFT in a place you trust and "
       "save_pretrained(..., safe_serialization=True)");
}

std::string_view require_text(const gguf::Metadata& metadata, const std::string& label,
                              std::string_view key) {
  const gguf::Value* value = metadata.find(key);
  if (value && value->text()) return *value->text();
  fail(ErrorCode::kAdapter, label, ": ", key, " is ", value ? gguf::to_string(*value) : "missing");
}

AdapterConfig config_of(const gguf::Metadata& metadata, const std::string& label) {
  if (metadata.find("adapter.alora.invocation_tokens")) {
    fail(ErrorCode::kAdapter, label,
         " is an activated LoRA (adapter.alora.invocation_tokens), which this version does not "
         "compute");
  }
  const gguf::Value* alpha = metadata.find("adapter.lora.alpha");
  if (!alpha || !alpha->number() || !(std::abs(*alpha->number()) <= 1e9)) {
    fail(ErrorCode::kAdapter, label, ": adapter.lora.alpha is ",
         alpha ? gguf::to_string(*alpha) : "missing", "; must be a number of at most 1e9");
  }
  AdapterConfig config;
  config.alpha = *alpha->number();
  config.is_declared = config.alpha != 0;  // the format's 0 says: alpha is the rank
  return config;
}

AdapterSource from_gguf(Contents contents, std::shared_ptr<const void> owner, std::string label) {
  const auto file = gguf::GgufFile::from_bytes(contents.bytes, std::move(owner));
  const gguf::Metadata& metadata = file->metadata();
  const std::string_view type = require_text(metadata, label, "general.type");
  if (type != "adapter")
    fail(ErrorCode::kAdapter, label, ": general.type is ", quoted(type), ", must be 'adapter'");
  const std::string_view kind = require_text(metadata, label, "adapter.type");
  if (kind != "lora")
    fail(ErrorCode::kAdapter, label, ": adapter.type is ", quoted(kind),
         ", only 'lora' is computed");
  AdapterSource source;
  source.architecture = require_text(metadata, label, "general.architecture");
  if (source.architecture.empty()) {
    fail(ErrorCode::kAdapter, label, ": general.architecture is empty");
  }
  source.config = config_of(metadata, label);
  source.label = std::move(label);
  for (const gguf::TensorInfo& info : file->tensors()) {
    source.tensors.push_back({info.name, info.dtype, info.shape, file->view(info), {}});
  }
  source.owner = file;
  return source;
}

AdapterSource from_contents(Contents contents, std::shared_ptr<const void> owner, std::string label,
                            const std::optional<std::string>& config) {
  if (begins_with(contents.bytes, "GGUF")) {
    REALM_CHECK(!config, label, " is a GGUF adapter, which carries its own configuration");
    return from_gguf(contents, std::move(owner), std::move(label));
  }
  if (begins_with(contents.bytes, "PK\3\4") || begins_with(contents.bytes, "\x80\x02"))
    refuse_pickle(label);
  AdapterSource source;
  source.tensors = parse_safetensors(contents.bytes, label).tensors;
  source.owner = std::move(owner);
  source.label = std::move(label);
  if (config) source.config = parse_adapter_config(*config);
  return source;
}

// The weights of a PEFT directory.
std::string weights_in(const fs::path& folder) {
  const fs::path weights = folder / kWeightsName;
  if (fs::exists(weights)) return weights.string();
  for (const char* name : {"adapter_model.bin", "adapter_model.pt"}) {
    if (fs::exists(folder / name)) refuse_pickle(quoted((folder / name).string(), 256));
  }
  fail(ErrorCode::kAdapter, quoted(folder.string(), 256), " has no ", kWeightsName);
}

}  // namespace

AdapterSource open_adapter(const std::string& path, const std::optional<std::string>& config) {
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  const std::string file = is_folder ? weights_in(path) : path;
  const fs::path beside = fs::path(file).parent_path() / kConfigName;
  if (is_folder && !fs::exists(beside, ignored) && !config) {
    fail(ErrorCode::kAdapter, quoted(path, 256), " has no ", kConfigName,
         ": without it the adapter's scale is not known");
  }
  Contents contents = slurp(file);
  std::optional<std::string> used = config;
  const bool is_gguf = begins_with(contents.bytes, "GGUF");
  if (!used && !is_gguf && fs::exists(beside, ignored)) used = read_config(beside.string());
  return from_contents(contents, contents.memory, quoted(file, 256), used);
}

AdapterSource adapter_from_bytes(std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner,
                                 const std::optional<std::string>& config) {
  return from_contents({nullptr, bytes}, std::move(owner), "the adapter in memory", config);
}

AdapterSource adapter_from_tensors(std::vector<SourceTensor> tensors,
                                   std::shared_ptr<const void> owner,
                                   const std::optional<std::string>& config) {
  std::vector<std::string_view> names;
  for (const SourceTensor& tensor : tensors) names.push_back(tensor.name);
  std::ranges::sort(names);
  const auto twin = std::ranges::adjacent_find(names);
  if (twin != names.end())
    fail(ErrorCode::kFormat, "the tensor ", quoted(*twin), " is given twice");
  AdapterSource source{"the adapter in memory", std::move(tensors), std::move(owner), {}, {}};
  if (config) source.config = parse_adapter_config(*config);
  return source;
}

}  // namespace realm::lora
