// A model in a runtime's store: its weights, the draft that guesses for it, and the engine that
// serves its tenants, which is made for the first of them. Any thread may call any function.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "realm/engine_options.h"
#include "realm/speculative_config.h"

namespace realm {

class ModelSlot {
 public:
  // `speculative` is how requests are speculated that do not say; none: the default with a draft.
  ModelSlot(std::string id, std::shared_ptr<Model> model, bool is_draft,
            std::optional<SpeculativeConfig> speculative = {});

  const std::string& id() const { return id_; }
  const std::shared_ptr<Model>& model() const { return model_; }
  // Loaded to guess for others, not to be served.
  bool is_draft() const { return is_draft_; }

  std::shared_ptr<ModelSlot> draft() const;
  // Throws kInvalidRequest if the pair cannot speak of the same tokens, this one has a draft, or
  // serves already.
  void give_draft(std::shared_ptr<ModelSlot> draft);
  // Throws what give_draft() would, before a draft is loaded for nothing.
  void require_open_for_draft() const;

  // What is served: made when first asked for. Throws kInvalidRequest after close(), and as Engine.
  std::shared_ptr<Engine> engine(const EngineOptions& options);
  std::optional<SpeculativeConfig> speculative() const;
  EngineStats stats() const;
  // Ends the engine and its requests, and makes none any more.
  void close();

 private:
  void require_open_for_draft_locked() const;
  void require_open() const;

  const std::string id_;
  const std::shared_ptr<Model> model_;
  const bool is_draft_;
  const std::optional<SpeculativeConfig> speculative_;

  std::mutex making_;  // held while the engine is made
  mutable std::mutex mutex_;
  std::shared_ptr<ModelSlot> draft_;
  std::shared_ptr<Engine> engine_;
  bool is_serving_ = false;  // or about to
  bool is_closed_ = false;
};

}  // namespace realm
