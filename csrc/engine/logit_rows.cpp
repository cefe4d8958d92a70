#include "engine/logit_rows.h"

#include <algorithm>
#include <utility>

namespace realm {

LogitRows::LogitRows(std::shared_ptr<Model> model, int64_t max_rows)
    : model_(std::move(model)),
      n_vocab_(static_cast<size_t>(model_->config().n_vocab)),
      max_list_(std::min(model_->backend().max_shortlist(), model_->config().n_vocab)),
      // A system that commits lazily gives it as rows are read.
      whole_(std::make_unique_for_overwrite<float[]>(static_cast<size_t>(max_rows) * n_vocab_)) {
  const auto rows = static_cast<size_t>(max_rows);
  is_here_.reserve(rows);
  lists_.resize(max_list_ > 0 ? rows * static_cast<size_t>(1 + max_list_) : 0);
}

void LogitRows::read(Matrix logits, std::span<const int64_t> lists) {
  logits_ = logits;
  is_here_.assign(lists.size(), false);
  width_ = lists.empty() ? 0 : std::min(max_list_, *std::ranges::max_element(lists));
  if (width_ > 0) model_->backend().shortlist(logits, width_, lists_.data());
  // Whole rows that stand together come together.
  for (size_t first = 0; first < lists.size();) {
    size_t end = first;
    while (end < lists.size() && (width_ == 0 || lists[end] == 0)) ++end;
    if (end > first) fetch(first, end - first);
    first = std::max(end, first + 1);
  }
}

void LogitRows::fetch(size_t first, size_t n) {
  model_->backend().download(logits_.data + first * n_vocab_, whole_.get() + first * n_vocab_,
                             n * n_vocab_ * sizeof(float));
  std::fill_n(is_here_.begin() + static_cast<ptrdiff_t>(first), n, true);
}

std::span<const TopLogit> LogitRows::top(size_t row) const {
  if (is_here_[row]) return {};
  const std::span<const TopLogit> list =
      std::span(lists_).subspan(row * static_cast<size_t>(1 + width_));
  return list.subspan(1, static_cast<size_t>(list.front().token));
}

std::span<const float> LogitRows::whole(size_t row) {
  if (!is_here_[row]) {
    const auto lock = model_->lock_backend();
    fetch(row, 1);
  }
  return {whole_.get() + row * n_vocab_, n_vocab_};
}

}  // namespace realm
