// The adapters that a model has loaded, by name. Each name has one generation at a time: loading it
// again makes the next, which new requests get while running ones keep theirs; memory goes with the
// last who uses it. Within a budget of bytes the adapters that were longest without use make room;
// those in use are never taken.
//
// Every function may be called from any thread; none waits for a forward but to upload.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lora/adapter_source.h"
#include "model/adapter_set.h"

namespace realm {

class Model;

// Names with their scales, in the order of composition.
using AdapterNames = std::vector<std::pair<std::string, float>>;

struct LoadedAdapter {
  std::string name;
  lora::AdapterReport report;
  uint64_t bytes = 0;
  bool is_in_use = false;  // by somebody besides the store
};

class AdapterStore {
 public:
  explicit AdapterStore(Model& model) : model_(model) {}

  // Fits an adapter to the model and gives it a name, taking that from an adapter that had it.
  // Throws kAdapter, listing what does not fit; with strict false only if nothing fits.
  // kOutOfMemory if it does not fit the budget beside those in use.
  lora::AdapterReport load(const std::string& name, const lora::AdapterSource& source, bool strict);
  // Throws kInvalidRequest for a name that is not loaded.
  void unload(const std::string& name);

  // The set of a request, shared by all that ask for the same; null for no names. Throws
  // kInvalidRequest for a name that is not loaded, kAdapter for adapters that cannot be composed.
  std::shared_ptr<const AdapterSet> set_of(const AdapterNames& names);

  // By name.
  std::vector<LoadedAdapter> list() const;
  // Bytes of the adapters that have a name.
  uint64_t bytes() const;
  // Bytes that adapters may take; 0: no limit. Evicts at once.
  void set_budget(uint64_t bytes);
  uint64_t budget() const;

 private:
  struct Entry {
    std::shared_ptr<const ResidentAdapter> adapter;
    uint64_t last_used = 0;
  };

  void make_room(uint64_t bytes, const std::string& for_name);
  std::shared_ptr<const ResidentAdapter> find(const std::string& name);
  uint64_t bytes_locked() const;

  Model& model_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::set<std::string> evicted_;
  std::map<Sha256Digest, std::weak_ptr<const AdapterSet>> sets_;
  uint64_t budget_ = 0;
  uint64_t n_uses_ = 0;
};

}  // namespace realm
