// A loaded model: configuration, weights and the backend they live on. Immutable once made, apart
// from the lock that lets one computation at a time use the backend; share it between threads and
// sequences freely.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "backend/backend.h"
#include "base/process.h"
#include "base/sha256.h"
#include "gguf/reader.h"
#include "model/adapter_store.h"
#include "model/config.h"
#include "model/merge_adapters.h"
#include "model/vocabulary.h"
#include "model/weights.h"

namespace realm {

struct ModelOptions {
  std::string device = "cpu";  // "cuda", "cuda:1"; "auto": the best there is (backend/registry.h)
  int n_threads = 0;           // of the CPU; 0: every processor this process may use
  // kF32 multiplies quantized weights exactly as they decode: slow, and the oracle of kInt8.
  ActivationKind activations = ActivationKind::kInt8;
  LoadOptions load{};
  // Merged into the weights as they are loaded.
  AdapterSources merge{};
};

class Model {
 public:
  // Throws kFormat for a file that is not a model we can compute, kCancelled, kOutOfMemory.
  static std::shared_ptr<Model> load(std::shared_ptr<const gguf::GgufFile> file,
                                     const ModelOptions& options);

  const ModelConfig& config() const { return config_; }
  const gguf::Metadata& metadata() const { return file_->metadata(); }
  const ModelWeights& weights() const { return weights_; }
  // What adapters may know of this model, as its file has it.
  const std::shared_ptr<const lora::BaseLayout>& adapter_layout() const { return layout_; }
  // Adapters that requests name.
  AdapterStore& adapters() { return adapters_; }
  // Null when the file has none: such a model takes and gives token ids only.
  const std::shared_ptr<const Vocabulary>& vocabulary() const { return vocabulary_; }

  // What tells this model from another; see model/fingerprint.h. Computed at the first call. The
  // caller must not hold the backend's lock.
  const Sha256Digest& fingerprint();

  // The backend may be used while the lock is held. Throws kForked in a child process, where
  // another thread's lock would never open.
  std::unique_lock<std::mutex> lock_backend() {
    owner_.require();
    return std::unique_lock(backend_mutex_);
  }
  Backend& backend() { return *backend_; }

 private:
  Model() = default;

  std::shared_ptr<const gguf::GgufFile> file_;
  ModelConfig config_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  std::shared_ptr<const lora::BaseLayout> layout_;
  std::unique_ptr<Backend> backend_;
  ModelWeights weights_;  // after the backend, so destroyed before it
  const OwnerProcess owner_;
  std::mutex backend_mutex_;
  AdapterStore adapters_{*this};             // after the backend, whose memory they hold
  std::optional<Sha256Digest> fingerprint_;  // under the lock
};

}  // namespace realm
