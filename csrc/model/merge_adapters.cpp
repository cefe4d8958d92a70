#include "model/merge_adapters.h"

#include <cmath>

#include "base/error.h"
#include "lora/adapter_builder.h"
#include "model/adapter_layout.h"

namespace realm {

std::shared_ptr<const lora::Merge> make_merge(std::shared_ptr<const lora::BaseLayout> base,
                                              const AdapterSources& adapters) {
  lora::ScaledAdapters fitted;
  for (const auto& [source, scale] : adapters) {
    REALM_CHECK(std::isfinite(scale), "the scale of ", source.label, " is ", scale);
    fitted.emplace_back(lora::build_adapter(source, *base, {.strict = true, .on_the_fly = false}),
                        scale);
  }
  return std::make_shared<const lora::Merge>(std::move(base), std::move(fitted));
}

lora::MergeReport merge_adapters(std::shared_ptr<const gguf::GgufFile> base,
                                 const AdapterSources& adapters, const std::string& out_path,
                                 const lora::MergeOptions& options) {
  REALM_CHECK(!adapters.empty(), "there are no adapters to merge");
  const ModelConfig config = parse_config(*base);
  const auto layout = std::make_shared<const lora::BaseLayout>(adapter_layout(base, config));
  return lora::merge_to_file(*base, *make_merge(layout, adapters), out_path, options);
}

}  // namespace realm
