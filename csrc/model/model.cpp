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
  model->device_ = std::make_shared<Device>();
  model->device_->backend =
      make_backend(options.device, options.n_threads, options.activations, options.deterministic);
  model->layout_ =
      std::make_shared<const lora::BaseLayout>(realm::adapter_layout(file, model->config_));
  model->n_threads_ = options.n_threads;
  LoadOptions load = options.load;
  load.n_threads = options.n_threads;
  if (!options.merge.empty()) load.merge = make_merge(model->layout_, options.merge);
  model->is_merged_ = load.merge != nullptr;
  model->weights_ = load_weights(file, model->config_, model->backend(), load);
  model->file_ = std::move(file);
  return model;
}

std::shared_ptr<Model> Model::overlay(const AdapterSources& adapters,
                                      const OverlayOptions& options) {
  owner_.require();
  REALM_CHECK(!adapters.empty(), "there are no adapters to merge");
  REALM_CHECK(!is_merged_,
              "this model has adapters merged into its weights; make the overlay over "
              "the model without them, of all adapters together");
  const std::shared_ptr<Model> model(new Model);
  model->config_ = config_;
  model->vocabulary_ = vocabulary_;
  model->device_ = device_;
  model->layout_ = layout_;
  model->is_merged_ = true;
  model->n_threads_ = n_threads_;
  const LoadOptions load{.n_threads = n_threads_,
                         .merge = make_merge(layout_, adapters),
                         .merge_type = options.merge_type,
                         .progress = options.progress};
  const OverlayBase base{weights_, device_->turns};
  model->weights_ = load_weights(file_, config_, backend(), load, &base);
  model->file_ = file_;
  return model;
}

const Sha256Digest& Model::fingerprint() {
  const auto lock = lock_backend();
  if (!fingerprint_) {
    fingerprint_ = fingerprint_of(backend(), config_, vocabulary_.get(), weights_);
  }
  return *fingerprint_;
}

}  // namespace realm
