#include "runtime/runtime_core.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/error.h"
#include "engine/speculative/validate_config.h"
#include "model/utf8.h"

namespace realm {

namespace {

const RuntimeOptions& validated(const RuntimeOptions& options) {
  REALM_CHECK(options.n_threads >= 0, "n_threads is ", options.n_threads, "; must not be negative");
  REALM_CHECK(!options.engine.max_queue,
              "max_queue would let one tenant fill the queue of all; tenants have queued_requests");
  return options;
}

Sha256Digest fresh_secret() {
  std::random_device device;
  Sha256 hash;
  for (int i = 0; i < 8; ++i) hash.update_number(device());
  return hash.finish();
}

void validate_id(const char* what, const std::string& id) {
  const bool is_printable =
      std::ranges::none_of(id, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
  REALM_CHECK(!id.empty() && id.size() <= 128 && is_printable && is_utf8(id), what, " is ",
              quoted(id), "; must be 1 to 128 bytes of UTF-8 without control characters");
}

std::string default_draft_id(const std::string& model_id) {
  return model_id + "_draft";
}

// Reports what is loaded of two files as one.
LoadProgress part_of(const LoadProgress& progress, uint64_t before, uint64_t after) {
  if (!progress) return {};
  return [=](uint64_t done, uint64_t total) {
    return progress(before + done, before + total + after);
  };
}

}  // namespace

Runtime::Core::Core(const RuntimeOptions& options)
    : options_(validated(options)), secret_(fresh_secret()) {}

// ---- ids

Runtime::Core::Reservation::~Reservation() {
  const std::lock_guard lock(core_.mutex_);
  for (const std::string& id : ids_) core_.loading_.erase(id);
}

void Runtime::Core::Reservation::add_locked(const std::string& id) {
  REALM_CHECK(!core_.models_.contains(id), "model id ", quoted(id), " is taken");
  REALM_CHECK(!core_.loading_.contains(id), "model id ", quoted(id), " is being loaded");
  ids_.push_back(id);
  core_.loading_.insert(id);
}

void Runtime::Core::require_open_locked() const {
  REALM_CHECK(!is_closed_, "the runtime is closed");
}

Runtime::Core::Slot Runtime::Core::find_locked(const std::string& model_id) const {
  const auto at = models_.find(model_id);
  return at == models_.end() ? nullptr : at->second;
}

Runtime::Core::Slot Runtime::Core::require_locked(const std::string& model_id) const {
  require_open_locked();
  const Slot slot = find_locked(model_id);
  REALM_CHECK(slot, "model ", quoted(model_id), " is not loaded");
  return slot;
}

Runtime::Core::Slot Runtime::Core::slot(const std::string& model_id) const {
  const std::lock_guard lock(mutex_);
  return require_locked(model_id);
}

// ---- models

std::shared_ptr<Model> Runtime::Core::load_weights(std::shared_ptr<const gguf::GgufFile> file,
                                                   const LoadProgress& progress) const {
  ModelOptions options;
  options.device = options_.device;
  options.n_threads = options_.n_threads;
  options.load.mapped = options_.mapped_weights;
  options.load.progress = progress;
  return Model::load(std::move(file), options);
}

// The draft that is there for a spec; null if it is to be loaded, or there is none.
Runtime::Core::Slot Runtime::Core::find_draft_locked(const ModelSpec& spec) const {
  const std::string id = spec.draft_model_id.value_or(default_draft_id(spec.model_id));
  Slot draft = find_locked(id);
  REALM_CHECK(draft || spec.draft_model_path || !spec.draft_model_id, "model ",
              quoted(spec.model_id), " is to have the draft ", quoted(id), ", which is not loaded");
  return draft;
}

void Runtime::Core::load(const ModelSpec& spec, const std::shared_ptr<const gguf::GgufFile>& file,
                         const LoadProgress& progress) {
  const std::string draft_id = spec.draft_model_id.value_or(default_draft_id(spec.model_id));
  validate_id("model_id", spec.model_id);
  validate_id("draft_model_id", draft_id);
  REALM_CHECK(draft_id != spec.model_id, "model ", quoted(draft_id), " cannot be its own draft");
  if (spec.speculative) validate(*spec.speculative);
  Reservation reserved(*this);
  Slot draft, new_draft;
  {
    const std::lock_guard lock(mutex_);
    require_open_locked();
    draft = find_draft_locked(spec);
    reserved.add_locked(spec.model_id);
    if (!draft && spec.draft_model_path) reserved.add_locked(draft_id);
  }
  std::shared_ptr<const gguf::GgufFile> draft_file;
  if (!draft && spec.draft_model_path) draft_file = gguf::GgufFile::open(*spec.draft_model_path);
  const uint64_t after = draft_file ? draft_file->file_bytes() : 0;
  const auto slot = std::make_shared<ModelSlot>(
      spec.model_id, load_weights(file, part_of(progress, 0, after)), false, spec.speculative);
  if (draft_file) {
    const LoadProgress rest = part_of(progress, file->file_bytes(), 0);
    draft = new_draft = std::make_shared<ModelSlot>(draft_id, load_weights(draft_file, rest), true);
  }
  if (draft) slot->give_draft(draft);
  publish(slot, new_draft);
}

void Runtime::Core::load_draft(const std::string& model_id,
                               const std::shared_ptr<const gguf::GgufFile>& file,
                               const LoadProgress& progress) {
  const std::string draft_id = default_draft_id(model_id);
  validate_id("model_id", model_id);
  Reservation reserved(*this);
  {
    const std::lock_guard lock(mutex_);
    require_open_locked();
    reserved.add_locked(draft_id);
    if (const Slot target = find_locked(model_id)) target->require_open_for_draft();
  }
  const auto draft = std::make_shared<ModelSlot>(draft_id, load_weights(file, progress), true);
  const std::lock_guard lock(mutex_);
  require_open_locked();
  REALM_CHECK(!loading_.contains(model_id), "model ", quoted(model_id),
              " is being loaded; store its draft before or after");
  if (const Slot target = find_locked(model_id)) target->give_draft(draft);
  models_[draft_id] = draft;
}

// Fits the adapters that wait for the model, and lets it and its draft be seen.
void Runtime::Core::publish(const Slot& slot, const Slot& new_draft) {
  std::map<std::string, Adapter> fitted, pending;
  while (!publish_if_fitted(slot, new_draft, fitted, pending)) {
    for (auto& [id, adapter] : pending) {
      slot->model()->adapters().load(id, *adapter.source, adapter.strict);
      fitted[id] = std::move(adapter);
    }
    pending.clear();
  }
}

// False, and what is yet to be fitted in `pending`, if there is any.
bool Runtime::Core::publish_if_fitted(const Slot& slot, const Slot& new_draft,
                                      std::map<std::string, Adapter>& fitted,
                                      std::map<std::string, Adapter>& pending) {
  const std::lock_guard lock(mutex_);
  require_open_locked();
  for (const auto& [id, adapter] : adapters_) {
    if (adapter.model_id != slot->id()) continue;
    const auto before = fitted.find(id);
    if (before == fitted.end() || before->second.source != adapter.source) pending[id] = adapter;
  }
  if (!pending.empty()) return false;
  for (const auto& [id, adapter] : fitted) {
    const auto at = adapters_.find(id);
    const bool is_wanted = at != adapters_.end() && at->second.source == adapter.source;
    if (!is_wanted) slot->model()->adapters().unload(id);
  }
  models_[slot->id()] = slot;
  if (new_draft) models_[new_draft->id()] = new_draft;
  for (auto& [id, adapter] : adapters_) {
    if (adapter.model_id == slot->id()) adapter.source = nullptr;
  }
  return true;
}

// A model, and its draft if that is nobody else's, out of the maps with all that is theirs.
std::vector<Runtime::Core::Slot> Runtime::Core::take_model_locked(const std::string& model_id) {
  const Slot slot = require_locked(model_id);
  std::vector<Slot> taken{slot};
  const Slot draft = slot->draft();
  bool is_shared = false;
  for (const auto& [id, other] : models_) {
    REALM_CHECK(other->draft() != slot, "model ", quoted(model_id), " is the draft of ",
                quoted(id));
    is_shared |= other != slot && other->draft() == draft;
  }
  const bool is_own = draft && draft->is_draft() && !is_shared;
  if (is_own && find_locked(draft->id()) == draft) taken.push_back(draft);
  for (const Slot& gone : taken) {
    models_.erase(gone->id());
    std::erase_if(adapters_, [&](const auto& one) { return one.second.model_id == gone->id(); });
    for (auto& [tenant, choices] : choices_) choices.erase(gone->id());
  }
  std::erase_if(choices_, [](const auto& one) { return one.second.empty(); });
  return taken;
}

void Runtime::Core::unload(const std::string& model_id) {
  std::vector<Slot> slots;
  std::vector<std::shared_ptr<Tenant>> tenants;
  {
    const std::lock_guard lock(mutex_);
    slots = take_model_locked(model_id);
    tenants = take_tenants_locked([&](const TenantKey& key) { return key.second == model_id; });
  }
  for (const auto& tenant : tenants) tenant->release();
  for (const Slot& slot : slots) slot->close();
}

std::vector<LoadedModel> Runtime::Core::models() const {
  const std::lock_guard lock(mutex_);
  require_open_locked();
  std::vector<LoadedModel> models;
  for (const auto& [id, slot] : models_) {
    LoadedModel model{id, slot->model()->weights().bytes, {}, slot->is_draft(), 0};
    if (const Slot draft = slot->draft()) model.draft_id = draft->id();
    model.n_tenants =
        std::ranges::count_if(tenants_, [&](const auto& one) { return one.first.second == id; });
    models.push_back(std::move(model));
  }
  return models;
}

std::vector<ModelFigures> Runtime::Core::model_figures() const {
  std::vector<Slot> slots;
  {
    const std::lock_guard lock(mutex_);
    require_open_locked();
    for (const auto& [id, slot] : models_) slots.push_back(slot);
  }
  std::vector<ModelFigures> figures;
  for (const Slot& slot : slots) {
    figures.push_back({slot->id(), slot->stats(), slot->model()->weights().bytes,
                       slot->model()->adapters().bytes()});
  }
  return figures;
}

void Runtime::Core::close() {
  std::map<std::string, Slot> models;
  Tenants tenants;
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    models.swap(models_);
    tenants.swap(tenants_);
    adapters_.clear();
    choices_.clear();
  }
  for (const auto& [key, tenant] : tenants) tenant->release();
  for (const auto& [id, slot] : models) slot->close();
}

// ---- adapters

void Runtime::Core::require_adapter_of_locked(const std::string& adapter_id,
                                              const std::string& model_id) const {
  const auto at = adapters_.find(adapter_id);
  REALM_CHECK(at == adapters_.end() || at->second.model_id == model_id, "adapter id ",
              quoted(adapter_id), " is taken by an adapter of model ", quoted(at->second.model_id));
}

std::optional<lora::AdapterReport> Runtime::Core::load_adapter(const std::string& adapter_id,
                                                               lora::AdapterSource source,
                                                               const std::string& model_id,
                                                               bool strict) {
  validate_id("adapter_id", adapter_id);
  validate_id("model_id", model_id);
  Slot slot;
  {
    const std::lock_guard lock(mutex_);
    require_open_locked();
    require_adapter_of_locked(adapter_id, model_id);
    slot = find_locked(model_id);
    if (!slot) {
      adapters_[adapter_id] = {model_id, strict,
                               std::make_shared<const lora::AdapterSource>(std::move(source))};
      return std::nullopt;
    }
  }
  lora::AdapterReport report = slot->model()->adapters().load(adapter_id, source, strict);
  const std::lock_guard lock(mutex_);
  REALM_CHECK(!is_closed_ && find_locked(model_id) == slot, "model ", quoted(model_id),
              " was unloaded meanwhile");
  try {
    require_adapter_of_locked(adapter_id, model_id);
  } catch (const Error&) {
    slot->model()->adapters().unload(adapter_id);
    throw;
  }
  adapters_[adapter_id] = {model_id, strict, nullptr};
  return report;
}

void Runtime::Core::unload_adapter(const std::string& adapter_id) {
  const std::lock_guard lock(mutex_);
  require_open_locked();
  const auto at = adapters_.find(adapter_id);
  REALM_CHECK(at != adapters_.end(), "adapter ", quoted(adapter_id), " is not loaded");
  const Slot slot = find_locked(at->second.model_id);
  adapters_.erase(at);
  if (slot) slot->model()->adapters().unload(adapter_id);
}

std::vector<RuntimeAdapter> Runtime::Core::adapters() const {
  const std::lock_guard lock(mutex_);
  require_open_locked();
  std::map<std::pair<std::string, std::string>, LoadedAdapter> loaded;  // model, adapter
  for (const auto& [id, slot] : models_) {
    for (LoadedAdapter& one : slot->model()->adapters().list()) {
      const std::string name = one.name;
      loaded.insert_or_assign({id, name}, std::move(one));
    }
  }
  std::vector<RuntimeAdapter> list;
  for (const auto& [id, adapter] : adapters_) {
    RuntimeAdapter one{id, adapter.model_id, 0, {}};
    const auto at = loaded.find({adapter.model_id, id});
    if (at != loaded.end()) {
      one.bytes = at->second.bytes;
      one.report = at->second.report;
    }
    list.push_back(std::move(one));
  }
  return list;
}

std::optional<std::string> Runtime::Core::choice_locked(const std::string& tenant_id,
                                                        const std::string& model_id) const {
  const auto of_tenant = choices_.find(tenant_id);
  if (of_tenant == choices_.end()) return std::nullopt;
  const auto at = of_tenant->second.find(model_id);
  return at == of_tenant->second.end() ? std::nullopt : std::optional(at->second);
}

void Runtime::Core::choose_adapter(const std::string& tenant_id,
                                   const std::optional<std::string>& adapter_id) {
  validate_tenant_id(tenant_id);
  const std::lock_guard lock(mutex_);
  require_open_locked();
  if (!adapter_id) {
    choices_.erase(tenant_id);
    for (const auto& [key, tenant] : tenants_) {
      if (key.first == tenant_id) tenant->set_adapter(std::nullopt);
    }
    return;
  }
  const auto adapter = adapters_.find(*adapter_id);
  REALM_CHECK(adapter != adapters_.end(), "adapter ", quoted(*adapter_id), " is not loaded");
  const std::string& model_id = adapter->second.model_id;
  const auto living = tenants_.find({tenant_id, model_id});
  if (living != tenants_.end()) {
    for (const LoadedAdapter& one : find_locked(model_id)->model()->adapters().list()) {
      if (one.name == *adapter_id) living->second->require_adapter_bytes(one.bytes);
    }
  }
  choices_[tenant_id][model_id] = *adapter_id;
  if (living != tenants_.end()) living->second->set_adapter(*adapter_id);
}

}  // namespace realm
