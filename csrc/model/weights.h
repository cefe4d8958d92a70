// A model's tensors on a backend, by role. Fused file tensors (q, k, v in one) are split into rows
// here, so that the forward knows one shape of block. Every tensor of the file finds its place or
// the file is refused: nothing that a model was trained with is ignored.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "gguf/reader.h"
#include "gguf/rewriter.h"
#include "lora/merge.h"
#include "model/backend_turns.h"
#include "model/config.h"
#include "model/rope.h"

namespace realm {

// Where adapters meet the forward: some rows of a tensor of the file (of each expert's matrix, for
// a bank), named without ".weight". Products refer to sites by their position in
// ModelWeights::sites.
struct AdapterSite {
  std::string tensor;
  int64_t first_row = 0, n_rows = 0;
};
using SiteId = int32_t;
constexpr SiteId kNoSite = -1;

// A weight and its bias; the bias is empty when the file has none.
struct Linear {
  std::shared_ptr<const Weight> weight;
  Vector bias;
  SiteId site = kNoSite;
};

struct NormWeights {
  Vector weight, bias;
};

struct LayerWeights {
  NormWeights attention_norm, feed_forward_norm, post_attention_norm, post_feed_forward_norm;
  NormWeights q_norm, k_norm;
  Linear q, k, v, o;
  Linear gate, up, down;
  // Mixture of experts.
  Linear router;
  std::shared_ptr<const Weight> expert_gate, expert_up, expert_down;
  SiteId expert_gate_site = kNoSite, expert_up_site = kNoSite, expert_down_site = kNoSite;
  Linear shared_gate, shared_up, shared_down, shared_router;
};

// What was loaded, by the names of the file's tensors; an overlay shares it tensor by tensor.
struct LoadedTensors {
  std::map<std::string, std::vector<std::shared_ptr<const Weight>>>
      matrices;  // parts of fused ones
  std::map<std::string, std::shared_ptr<const Buffer>> vectors;
};

struct ModelWeights {
  std::shared_ptr<const Weight> embedding, positions, own_head;
  Vector head_bias;
  NormWeights output_norm;
  std::vector<LayerWeights> layers;
  std::vector<AdapterSite> sites;
  SiteId head_site = kNoSite;
  RopeFactors rope_factors;
  LoadedTensors tensors;                        // all of the above, and the vectors' memory
  uint64_t bytes = 0;                           // of all weights but those of a base, as stored
  std::vector<gguf::RequantizedTensor> merged;  // that adapters were merged into

  const Weight& head() const { return own_head ? *own_head : *embedding; }
};

struct LoadOptions {
  bool mapped = false;  // use the file's pages in place: instant, and at the mercy of whoever can
                        // truncate the file
  int n_threads = 0;    // that read and merge; 0: every processor this process may use
  // Adapters to merge into the weights, null for none, and the type of the matrices that they
  // change; none: each keeps its own.
  std::shared_ptr<const lora::Merge> merge{};
  std::optional<DType> merge_type{};
  // Called as loading goes on; false cancels (kCancelled).
  std::function<bool(uint64_t bytes_done, uint64_t bytes_total)> progress{};
};

// A model in use of the same file and backend, which is used in turns. Tensors that merging
// does not change are taken from it and not loaded.
struct OverlayBase {
  const ModelWeights& weights;
  BackendTurns& backend_turns;
};

// Throws kFormat for a missing, superfluous or mis-shaped tensor, and for norms or biases that are
// not finite.
ModelWeights load_weights(std::shared_ptr<const gguf::GgufFile> file, const ModelConfig& config,
                          Backend& backend, const LoadOptions& options,
                          const OverlayBase* base = nullptr);

}  // namespace realm
