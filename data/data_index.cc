#include "data/data_index.h"

#include <algorithm>
#include <numeric>
#include <queue>
#include <utility>

namespace penstock {
namespace {

constexpr uint64_t kPointsOfFile = 1 << 20;

}  // namespace

void DataIndex::BeginFile(uint64_t begin, uint64_t size, bool divisible) {
  files_.push_back({.spacing = std::max<uint64_t>(1, size / kPointsOfFile), .divisible = divisible});
  files_.back().points.push_back({begin, index_, records_});
}

void DataIndex::AddRecord(uint64_t end, bool counts) {
  records_ += counts && holdout_.Takes(index_);
  ++index_;
  File& file = files_.back();
  const Point point{end, index_, records_};
  if (file.kept) {
    file.points.push_back(point);
  } else {
    file.points.back() = point;
  }
  file.kept = file.divisible && end - file.points[file.points.size() - 2].at >= file.spacing;
}

uint64_t DataIndex::extent() const {
  return std::accumulate(files_.begin(), files_.end(), uint64_t{0},
                         [](uint64_t sum, const File& file) { return sum + file.extent(); });
}

// How many ranges each file is cut into: in proportion to its size, at least one, and together n if that can
// be.
std::vector<uint32_t> DataIndex::Pieces(uint32_t n) const {
  std::vector<uint32_t> pieces(files_.size(), 1);
  std::priority_queue<std::pair<double, size_t>> largest;  // the bytes of one of its pieces, which file
  for (size_t f = 0; f < files_.size(); ++f) {
    if (files_[f].divisible) largest.emplace(static_cast<double>(files_[f].extent()), f);
  }
  for (size_t left = n > files_.size() ? n - files_.size() : 0; left > 0 && !largest.empty(); --left) {
    const size_t f = largest.top().second;
    largest.pop();
    ++pieces[f];
    largest.emplace(static_cast<double>(files_[f].extent()) / pieces[f], f);
  }
  return pieces;
}

std::vector<PartitionRange> DataIndex::Cut(uint32_t n) const {
  std::vector<PartitionRange> ranges;
  const std::vector<uint32_t> pieces = Pieces(n);
  for (size_t f = 0; f < files_.size(); ++f) {
    const std::vector<Point>& points = files_[f].points;
    auto cut = [&](uint64_t piece) {
      const auto at =
          static_cast<uint64_t>(static_cast<unsigned __int128>(files_[f].extent()) * piece / pieces[f]);
      return std::lower_bound(points.begin(), points.end(), points.front().at + at,
                              [](const Point& point, uint64_t wanted) { return point.at < wanted; });
    };
    for (uint32_t i = 0; i < pieces[f]; ++i) {
      const auto from = cut(i), to = cut(i + 1);
      ranges.push_back({.begin = from->at,
                        .end = to->at,
                        .file = static_cast<uint32_t>(f),
                        .first_record = from->index,
                        .records = to->records - from->records});
    }
  }
  return ranges;
}

}  // namespace penstock
