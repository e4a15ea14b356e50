// Damage to a file that was written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace penstock {

inline void FlipByte(const std::string& path, uint64_t offset) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(file.get() ^ 0x20);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

// In a block of rows: the middle of the base's largest file, which is returned; empty: there is none.
inline std::string FlipByteOfBase(const std::string& data_dir) {
  std::string largest;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir + "/base")) {
    if (entry.path().extension() != ".sst") continue;
    if (largest.empty() || entry.file_size() > std::filesystem::file_size(largest)) largest = entry.path();
  }
  if (!largest.empty()) FlipByte(largest, std::filesystem::file_size(largest) / 2);
  return largest;
}

}  // namespace penstock
