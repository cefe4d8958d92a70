// A loaded model: configuration, weights and the backend they live on. Immutable once made, apart
// from the lock that lets one computation at a time use the backend; share it between threads and
// sequences freely.
//
// An overlay is a model over another's weights with adapters merged into some of them: it owns
// those and shares the others, and the backend with its lock. The base never changes, and either
// may go first.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "backend/backend.h"
#include "base/process.h"
#include "base/sha256.h"
#include "gguf/reader.h"
#include "model/adapter_store.h"
#include "model/backend_turns.h"
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
  // On a GPU a row's bits depend on its own context alone, at some cost; on the CPU they always do.
  bool deterministic = false;
  LoadOptions load{};
  // Merged into the weights as they are loaded.
  AdapterSources merge{};
};

struct OverlayOptions {
  std::optional<DType> merge_type{};  // as in LoadOptions, and so is the progress
  std::function<bool(uint64_t bytes_done, uint64_t bytes_total)> progress{};
};

class Model {
 public:
  // Throws kFormat for a file that is not a model we can compute, kCancelled, kOutOfMemory.
  static std::shared_ptr<Model> load(std::shared_ptr<const gguf::GgufFile> file,
                                     const ModelOptions& options);

  // An overlay: the answers of a model loaded with these adapters merged, bit for bit. Requests on
  // this model run on meanwhile. Throws kInvalidRequest if this model has adapters merged into it,
  // else as load() does.
  std::shared_ptr<Model> overlay(const AdapterSources& adapters, const OverlayOptions& options);

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
  std::unique_lock<BackendTurns> lock_backend() {
    owner_.require();
    return std::unique_lock(device_->turns);
  }
  // The same for work beside those who serve requests; as BackendTurns::lock_modestly().
  ModestTurn take_modest_turn(const std::atomic<bool>* cancel) {
    owner_.require();
    return ModestTurn(device_->turns, cancel);
  }
  Backend& backend() { return *device_->backend; }

 private:
  struct Device {
    std::unique_ptr<Backend> backend;
    BackendTurns turns;
  };

  Model() = default;

  std::shared_ptr<const gguf::GgufFile> file_;
  ModelConfig config_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  std::shared_ptr<const lora::BaseLayout> layout_;
  std::shared_ptr<Device> device_;
  ModelWeights weights_;  // after the device, so destroyed before it
  bool is_merged_ = false;
  int n_threads_ = 0;
  const OwnerProcess owner_;
  AdapterStore adapters_{*this};             // after the device, whose memory they hold
  std::optional<Sha256Digest> fingerprint_;  // under the lock
};

}  // namespace realm
