#include "model/model.h"

#include "backend/registry.h"
#include "base/error.h"
#include "model/adapter_layout.h"
#include "model/fingerprint.h"

namespace realm {

namespace {

void refuse_other_kinds(const gguf::Metadata& metadata) {
  const gguf::Value* type = metadata.find("general.type");
  if (type && type->text() != "model") {
    fail(ErrorCode::kFormat, "general.type is ", gguf::to_string(*type),
         "; this file is not a model");
  }
}

}  // namespace

std::shared_ptr<Model> Model::load(std::shared_ptr<const gguf::GgufFile> file,
                                   const ModelOptions& options) {
  refuse_other_kinds(file->metadata());
  const std::shared_ptr<Model> model(new Model);
  model->config_ = parse_config(*file);
  if (Vocabulary::is_declared(file->metadata())) {
    model->vocabulary_ = std::make_shared<const Vocabulary>(file->metadata());
  }
  model->backend_ = make_backend(options.device, options.n_threads, options.activations);
  model->layout_ =
      std::make_shared<const lora::BaseLayout>(realm::adapter_layout(file, model->config_));
  LoadOptions load = options.load;
  load.n_threads = options.n_threads;
  if (!options.merge.empty()) load.merge = make_merge(model->layout_, options.merge);
  model->weights_ = load_weights(file, model->config_, *model->backend_, load);
  model->file_ = std::move(file);
  return model;
}

const Sha256Digest& Model::fingerprint() {
  const auto lock = lock_backend();
  if (!fingerprint_) {
    fingerprint_ = fingerprint_of(*backend_, config_, vocabulary_.get(), weights_);
  }
  return *fingerprint_;
}

}  // namespace realm
