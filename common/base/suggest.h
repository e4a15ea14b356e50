// Suggest: the known word that a mistyped one was most likely meant to be, for "did you mean" in errors.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

// The number of letters to insert, delete, replace or swap with a neighbour to get from one word to the
// other.
size_t EditDistance(std::string_view a, std::string_view b);

// The closest candidate, the earlier one of two that are equally close, or "" when none is near enough to be
// worth naming.
std::string Suggest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace penstock
