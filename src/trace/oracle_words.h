// oracle_words.h: the words of the format pervma-oracle 1 and what they mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "trace/oracle_recording.h"

namespace pervma::trace {

std::optional<OracleCall> oracle_call(std::string_view word) noexcept;
std::string_view oracle_call_name(OracleCall) noexcept;
std::optional<OracleSignal> oracle_signal(std::string_view word) noexcept;
std::string_view oracle_signal_name(OracleSignal) noexcept;
// 0: not known.
int oracle_errno(std::string_view name) noexcept;
// 0: no file; nothing: not known.
std::optional<uint8_t> oracle_opening(std::string_view word) noexcept;

// False: a word is not known. What is found is added to `bits`.
bool oracle_prot(std::string_view word, uint32_t& bits) noexcept;
bool oracle_map_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_remap_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_lock_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_lock_all_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_advice(std::string_view word, int32_t& advice) noexcept;

std::optional<VmaFlags> oracle_vma_flags(std::string_view list) noexcept;
std::string oracle_flag_text(VmaFlags);
std::string oracle_perms(VmaFlags);

}  // namespace pervma::trace
