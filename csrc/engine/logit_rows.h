// The logits of a step's wanted rows as sampling reads them: a row's first ones, where the backend
// can list them and they are enough, or the whole row. A row that was listed stays on the backend
// and is still fetched when it is asked for, until the next step. Where a backend has no lists (the
// CPU), every row is whole and comes with one copy.
//
// The engine's thread alone. Everything large is allocated when it is made.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/model.h"

namespace realm {

class LogitRows {
 public:
  // For at most `max_rows` rows.
  LogitRows(std::shared_ptr<Model> model, int64_t max_rows);

  // How long a list can be; 0: rows are whole.
  int64_t max_list() const { return max_list_; }

  // Reads the rows of `logits`, which the backend keeps until the next call. `lists[i]` is how long
  // a list of row i must be at least; 0 for a whole row. The caller holds the backend's lock.
  void read(Matrix logits, std::span<const int64_t> lists);

  // Empty where the row is whole, or has a NaN or an infinity.
  std::span<const TopLogit> top(size_t row) const;
  // Takes the backend's lock if the row is still there. Throws as Backend::download().
  std::span<const float> whole(size_t row);
  // All of them, [rows, V]; those that were listed and not fetched are undefined.
  std::span<float> all() { return {whole_.get(), is_here_.size() * n_vocab_}; }

 private:
  void fetch(size_t first, size_t n);

  const std::shared_ptr<Model> model_;
  const size_t n_vocab_;
  const int64_t max_list_;
  Matrix logits_;
  int64_t width_ = 0;                     // of the present lists; 0: there are none
  const std::unique_ptr<float[]> whole_;  // [rows, V]
  std::vector<bool> is_here_;             // of each row of whole_
  std::vector<TopLogit> lists_;           // [rows, 1 + width]
};

}  // namespace realm
