#include "model/adapter_store.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "lora/adapter_builder.h"
#include "model/model.h"

namespace realm {

namespace {

constexpr size_t kMostNames = 64;   // of one request
constexpr size_t kMostBytes = 256;  // of a name

bool is_idle(const std::shared_ptr<const ResidentAdapter>& adapter) {
  return adapter.use_count() == 1;  // the store's own; under its lock nobody gets another
}

}  // namespace

lora::AdapterReport AdapterStore::load(const std::string& name, const lora::AdapterSource& source,
                                       bool strict) {
  REALM_CHECK(!name.empty() && name.size() <= kMostBytes, "an adapter's name has 1 to ", kMostBytes,
              " bytes, not ", name.size());
  const auto fitted =
      lora::build_adapter(source, *model_.adapter_layout(), {.strict = strict, .on_the_fly = true});
  {
    const std::lock_guard lock(mutex_);
    make_room(fitted->bytes(), name);
  }
  std::shared_ptr<const ResidentAdapter> resident;
  {
    const auto lock = model_.lock_backend();
    resident = std::make_shared<const ResidentAdapter>(*fitted, *model_.adapter_layout(),
                                                       model_.weights().sites, model_.backend());
  }
  const std::lock_guard lock(mutex_);
  std::swap(entries_[name].adapter, resident);  // what had the name goes after the lock
  entries_[name].last_used = ++n_uses_;
  evicted_.erase(name);
  return fitted->report();
}

// Evicts idle adapters, longest unused first, until `bytes` more fit. The generation that the new
// one replaces counts as gone when nobody uses it.
void AdapterStore::make_room(uint64_t bytes, const std::string& for_name) {
  if (budget_ == 0) return;
  const auto replaced = entries_.find(for_name);
  uint64_t used = bytes_locked();
  if (replaced != entries_.end() && is_idle(replaced->second.adapter)) {
    used -= replaced->second.adapter->bytes();
  }
  while (used + bytes > budget_) {
    auto oldest = entries_.end();
    for (auto one = entries_.begin(); one != entries_.end(); ++one) {
      if (one->first == for_name || !is_idle(one->second.adapter)) continue;
      if (oldest == entries_.end() || one->second.last_used < oldest->second.last_used)
        oldest = one;
    }
    if (oldest == entries_.end()) {
      fail(ErrorCode::kOutOfMemory, "adapters may take ", human_bytes(budget_), "; ",
           human_bytes(used), " are in use and ", human_bytes(bytes), " more are needed");
    }
    used -= oldest->second.adapter->bytes();
    evicted_.insert(oldest->first);
    entries_.erase(oldest);
  }
}

void AdapterStore::unload(const std::string& name) {
  Entry gone;  // destroyed after the lock
  const std::lock_guard lock(mutex_);
  find(name);
  gone = std::move(entries_[name]);
  entries_.erase(name);
}

std::shared_ptr<const ResidentAdapter> AdapterStore::find(const std::string& name) {
  const auto found = entries_.find(name);
  if (found != entries_.end()) {
    found->second.last_used = ++n_uses_;
    return found->second.adapter;
  }
  REALM_CHECK(!evicted_.contains(name), "the adapter ", quoted(name),
              " was evicted to keep within ", human_bytes(budget_), "; load it again");
  fail(ErrorCode::kInvalidRequest, "there is no adapter ", quoted(name));
}

std::shared_ptr<const AdapterSet> AdapterStore::set_of(const AdapterNames& names) {
  if (names.empty()) return nullptr;
  REALM_CHECK(names.size() <= kMostNames, names.size(), " adapters; a request has at most ",
              kMostNames);
  std::vector<AdapterSet::Member> members;
  Sha256Digest identity;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, scale] : names) {
      REALM_CHECK(std::isfinite(scale), "the scale of the adapter ", quoted(name), " is ", scale);
      members.push_back({find(name), scale});
    }
    identity = AdapterSet::identity_of(members);
    const auto known = sets_.find(identity);
    if (known != sets_.end()) {
      if (auto set = known->second.lock()) return set;
    }
  }
  const lora::BaseLayout& base = *model_.adapter_layout();
  const auto set =
      std::make_shared<AdapterSet>(std::move(members), base, model_.backend().next_serial());
  if (set->needs_upload()) {
    const auto lock = model_.lock_backend();
    set->upload(base, model_.weights().sites, model_.backend());
  }
  const std::lock_guard lock(mutex_);
  std::erase_if(sets_, [](const auto& one) { return one.second.expired(); });
  const auto [known, is_new] = sets_.emplace(identity, set);
  if (auto other = is_new ? nullptr : known->second.lock()) return other;
  known->second = set;
  return set;
}

std::vector<LoadedAdapter> AdapterStore::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<LoadedAdapter> out;
  for (const auto& [name, entry] : entries_) {
    out.push_back(
        {name, entry.adapter->adapter().report(), entry.adapter->bytes(), !is_idle(entry.adapter)});
  }
  return out;
}

uint64_t AdapterStore::bytes_locked() const {
  uint64_t total = 0;
  for (const auto& [name, entry] : entries_) total += entry.adapter->bytes();
  return total;
}

uint64_t AdapterStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_locked();
}

void AdapterStore::set_budget(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  budget_ = bytes;
  if (bytes_locked() > bytes) make_room(0, {});
}

uint64_t AdapterStore::budget() const {
  const std::lock_guard lock(mutex_);
  return budget_;
}

}  // namespace realm
