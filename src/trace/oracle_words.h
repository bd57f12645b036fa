// oracle_words.h: the words of the format pervma-oracle 1 and what they mean.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pervma/vma_info.h"
#include "trace/oracle_operation.h"

namespace pervma::trace {

std::optional<OracleCall> oracle_call(std::string_view word) noexcept;
std::string_view oracle_call_name(OracleCall) noexcept;
std::optional<OracleSignal> oracle_signal(std::string_view word) noexcept;
std::string_view oracle_signal_name(OracleSignal) noexcept;
// 0: not known.
int oracle_errno(std::string_view name) noexcept;
// Empty: not known.
std::string_view oracle_errno_name(int error) noexcept;
// 0: no file; nothing: not known.
std::optional<uint8_t> oracle_opening(std::string_view word) noexcept;
std::string_view oracle_opening_name(uint8_t file) noexcept;

// False: a word is not known. What is found is added to `bits`.
bool oracle_prot(std::string_view word, uint32_t& bits) noexcept;
bool oracle_map_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_remap_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_lock_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_lock_all_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_sync_flags(std::string_view list, uint32_t& bits) noexcept;
// Of a userfaultfd: modes of a registration; of uffd_copy, uffd_zeropage and uffd_continue; of
// uffd_move; of uffd_writeprotect.
bool oracle_told_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_fill_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_move_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_close_flags(std::string_view list, uint32_t& bits) noexcept;
bool oracle_advice(std::string_view word, int32_t& advice) noexcept;

// The same backwards; bits without a name as 0xHEX.
void put_oracle_prot(OracleText&, uint32_t bits) noexcept;
void put_oracle_map_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_remap_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_lock_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_lock_all_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_sync_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_told_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_fill_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_move_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_close_flags(OracleText&, uint32_t bits) noexcept;
void put_oracle_advice(OracleText&, int32_t advice) noexcept;

std::optional<VmaFlags> oracle_vma_flags(std::string_view list) noexcept;
// The modes among them: um, uw, ui.
UserFaultModes oracle_user_modes(std::string_view list) noexcept;
std::string oracle_flag_text(VmaFlags, UserFaultModes = UserFaultModes::none);
// "rw-p", as in /proc/PID/maps.
std::array<char, 4> oracle_perms(VmaFlags) noexcept;

}  // namespace pervma::trace
