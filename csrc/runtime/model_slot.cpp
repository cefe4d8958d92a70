#include "runtime/model_slot.h"

#include <utility>

#include "base/error.h"
#include "engine/speculative/validate_config.h"

namespace realm {

ModelSlot::ModelSlot(std::string id, std::shared_ptr<Model> model, bool is_draft,
                     std::optional<SpeculativeConfig> speculative)
    : id_(std::move(id)),
      model_(std::move(model)),
      is_draft_(is_draft),
      speculative_(std::move(speculative)) {
  if (speculative_) validate(*speculative_);
}

std::shared_ptr<ModelSlot> ModelSlot::draft() const {
  const std::lock_guard lock(mutex_);
  return draft_;
}

void ModelSlot::require_open_for_draft() const {
  const std::lock_guard lock(mutex_);
  require_open_for_draft_locked();
}

void ModelSlot::require_open_for_draft_locked() const {
  REALM_CHECK(!draft_, "model ", quoted(id_), " has a draft already: ", quoted(draft_->id()));
  REALM_CHECK(!is_serving_, "model ", quoted(id_),
              " has tenants already; its draft must come before the first");
}

void ModelSlot::give_draft(std::shared_ptr<ModelSlot> draft) {
  check_pair(DraftModel{draft->model(), {}}, *model_);
  const std::lock_guard lock(mutex_);
  require_open_for_draft_locked();
  draft_ = std::move(draft);
}

void ModelSlot::require_open() const {
  REALM_CHECK(!is_closed_, "model ", quoted(id_), " is not loaded any more");
}

std::shared_ptr<Engine> ModelSlot::engine(const EngineOptions& options) {
  const std::lock_guard making(making_);
  DraftModel draft;
  {
    const std::lock_guard lock(mutex_);
    require_open();
    if (engine_) return engine_;
    is_serving_ = true;
    if (draft_) draft.model = draft_->model();
  }
  try {
    const bool wants_model = speculative_ && speculative_->drafter == DrafterKind::kModel;
    REALM_CHECK(draft.model || !wants_model, "model ", quoted(id_),
                " is to be speculated by a draft model, and has none");
    const auto engine = std::make_shared<Engine>(model_, options, StepHook{}, std::move(draft));
    const std::lock_guard lock(mutex_);
    require_open();
    engine_ = engine;
    return engine;
  } catch (...) {
    const std::lock_guard lock(mutex_);
    is_serving_ = false;
    throw;
  }
}

std::optional<SpeculativeConfig> ModelSlot::speculative() const {
  const std::lock_guard lock(mutex_);
  if (speculative_) return speculative_;
  return draft_ ? std::optional(SpeculativeConfig()) : std::nullopt;
}

EngineStats ModelSlot::stats() const {
  std::shared_ptr<Engine> engine;
  {
    const std::lock_guard lock(mutex_);
    engine = engine_;
  }
  return engine ? engine->stats() : EngineStats();
}

void ModelSlot::close() {
  std::shared_ptr<Engine> engine;
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    engine = std::exchange(engine_, nullptr);
    draft_ = nullptr;
  }
  if (engine) engine->close();
}

}  // namespace realm
