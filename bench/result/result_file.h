// Result files: JSON with a versioned schema (reports/schema/result-1.json).
//
// One file a kind (correctness, update, classify) and run.  A file is written
// whole, through a temporary one and a rename, after every case: a run that is
// killed leaves the last good state with "complete": false, never half a file.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "compat/model/result.h"

namespace nfarena {

inline constexpr int kResultVersion = 1;

class ResultFile {
 public:
  /// `kind`: "correctness", "update" or "classify"; `command`: what repeats it.
  ResultFile(std::filesystem::path path, const std::string& kind,
             const std::vector<std::string>& command);

  nlohmann::json& cases() { return json_["cases"]; }
  /// What was left out and why: shown on the page.
  void Skip(const std::string& what, const std::string& reason);
  /// Writes the present state.  Errors: kSystem (full disk, no right).
  [[nodiscard]] Status Save();
  /// Marks the run as complete and writes it.
  [[nodiscard]] Status Finish();

 private:
  std::filesystem::path path_;
  nlohmann::json json_;
};

/// Writes `text` to `path`, whole or not at all: a file without a name is
/// written, then linked and renamed.  Where the file system has no such files,
/// a process killed on the way leaves `path`.PID.tmp.
/// Errors: kSystem (full disk, no right); what was at `path` stays.
[[nodiscard]] Status WriteWholeFile(const std::filesystem::path& path,
                                    std::string_view text);

}  // namespace nfarena
