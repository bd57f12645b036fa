// Faults that the embedder serves: who is told, what the operations do and refuse, and what becomes
// of a registration when the map changes. Races and bad handlers: user_fault_race_test.cpp.
#include <thread>

#include "tests/fault/failing_store.h"
#include "tests/fault/user_fault_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

class UserFaultsTest : public UserFaultFixture {
 protected:
  using UserFaultFixture::UserFaultFixture;
};

TEST_P(UserFaultsTest, a_missing_page_is_told_once_and_has_the_handlers_bytes) {
  const Range r = told(4);
  std::vector<UserFault> seen;
  handler_.answer = [&](const UserFault& f, const std::stop_token&) {
    seen.push_back(f);
    EXPECT_FALSE(faults_->copy(f.address, page_full_of(7)).error);
    return UserFaultAnswer::look_again;
  };
  const FaultCounters before = space_->fault_counters();
  write64(page_of(r, 2) + 16, 8);
  const FaultCounters after = space_->fault_counters();
  EXPECT_EQ(read64(page_of(r, 2) + 24), 7u);
  EXPECT_EQ(read64(page_of(r, 2) + 16), 8u);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].address, page_of(r, 2));
  EXPECT_EQ(seen[0].access, Access::write);
  EXPECT_EQ(seen[0].kind, kMissing);
  EXPECT_EQ(after.success - before.success, 0u);
  EXPECT_EQ(after.abort + after.retry - before.abort - before.retry, 1u);
  if (has_vma_locks()) {
    EXPECT_EQ(after.retry - before.retry, 1u);
  }
  EXPECT_EQ(faults_->counters().told, 1u);
}

TEST_P(UserFaultsTest, a_system_calls_copy_is_told_too) {
  const Range r = told(1);
  answer_with(9);
  uint64_t value = 0;
  ASSERT_TRUE(space_->copy_out(r.start, writable_bytes_of(value)));
  EXPECT_EQ(value, 9u);
}

TEST_P(UserFaultsTest, without_a_handler_faults_are_had_in_order_and_wait_until_woken) {
  const auto faults = *space_->create_user_faults();
  const Range r = map(3);
  ASSERT_TRUE(faults->register_range(r.start, r.bytes(), kMissing));
  EXPECT_FALSE(faults->try_next());
  std::atomic<uint64_t> seen{0};
  std::jthread first([&] { seen += read64(r.start); });
  const std::optional<UserFault> f = faults->next();
  ASSERT_TRUE(f);
  EXPECT_EQ(f->address, r.start);
  EXPECT_EQ(f->access, Access::read);
  EXPECT_FALSE(faults->try_next());  // It was had.
  EXPECT_EQ(faults->copy(r.start, page_full_of(5), UserFillFlags::dont_wake).bytes, kPageSize);
  ASSERT_TRUE(faults->wake(page_of(r, 1), kPageSize));  // another page
  EXPECT_EQ(seen, 0u);
  ASSERT_TRUE(faults->wake(r.start, kPageSize));
  first.join();
  EXPECT_EQ(seen, 5u);
  std::jthread second([&] { seen += read64(page_of(r, 1)); });
  ASSERT_TRUE(faults->next());
  EXPECT_EQ(faults->zero_pages(r.start, 3 * kPageSize).error, Error::exist);
  EXPECT_FALSE(faults->zero_pages(page_of(r, 1), 2 * kPageSize).error);
  second.join();
  EXPECT_EQ(seen, 5u);
}

TEST_P(UserFaultsTest, pages_are_filled_only_where_none_are_and_a_part_is_told) {
  const Range r = told(40);
  never_ask();
  const auto bytes = std::vector<std::byte>(40 * kPageSize, std::byte{3});
  ASSERT_FALSE(faults_->copy(page_of(r, 20), std::span(bytes).first(kPageSize)).error);
  const UserFaultDone part = faults_->copy(r.start, bytes);
  EXPECT_EQ(part.error, Error::again);
  EXPECT_EQ(part.bytes, 20 * kPageSize);
  const UserFaultDone none = faults_->copy(page_of(r, 20), bytes);
  EXPECT_EQ(none.error, Error::noent);  // beyond the VMA
  EXPECT_EQ(none.bytes, 0u);
  EXPECT_EQ(error_of(faults_->copy(page_of(r, 20), std::span(bytes).first(2 * kPageSize))), EEXIST);
  EXPECT_EQ(error_of(faults_->copy(page_of(r, 21), std::span(bytes).first(19 * kPageSize))), 0);
  EXPECT_EQ(read64(page_of(r, 39)), 0x0303030303030303u);
  EXPECT_EQ(engine_->frames_used(), PageCount{40});
}

TEST_P(UserFaultsTest, operations_refuse_what_linux_refuses) {
  const Range r = told(4);
  const Range plain = map(2);
  const auto page = page_full_of(1);
  EXPECT_EQ(error_of(faults_->copy(r.start + 8, page)), EINVAL);
  EXPECT_EQ(error_of(faults_->copy(r.start, std::span(page).first(100))), EINVAL);
  EXPECT_EQ(error_of(faults_->copy(r.start, {})), EINVAL);
  EXPECT_EQ(error_of(faults_->copy(Address{~uint64_t{0} << 12}, page)), EINVAL);
  EXPECT_EQ(error_of(faults_->copy(r.start, page, UserFillFlags(8))), EINVAL);
  EXPECT_EQ(error_of(faults_->copy(r.start, page, UserFillFlags::write_protect)), EINVAL);
  EXPECT_EQ(error_of(faults_->copy(plain.start, page)), ENOENT);
  EXPECT_EQ(error_of(faults_->copy(Address{0x20000}, page)), ENOENT);
  EXPECT_EQ(error_of(faults_->zero_pages(r.start, kPageSize, UserFillFlags::write_protect)),
            EINVAL);
  EXPECT_EQ(error_of(faults_->zero_pages(plain.start, kPageSize)), ENOENT);
  EXPECT_EQ(error_of(faults_->map_cached(r.start, kPageSize)), EINVAL);
  EXPECT_EQ(error_of(faults_->write_protect(r.start, kPageSize)), ENOENT);
  EXPECT_EQ(error_of(faults_->write_protect(Address{0x20000}, kPageSize)), ENOENT);
  EXPECT_EQ(error_of(faults_->write_protect(r.start, kPageSize,
                                            UserProtectFlags(3))),  // closes, and is not to wake
            EINVAL);
  EXPECT_EQ(error_of(faults_->wake(r.start, 0)), EINVAL);
  EXPECT_EQ(error_of(faults_->wake(plain.start, kPageSize)), 0);
}

TEST_P(UserFaultsTest, registering_refuses_what_linux_refuses) {
  const Range r = map(4);
  EXPECT_EQ(register_error(r, UserFaultModes::none), EINVAL);
  EXPECT_EQ(register_error(r, UserFaultModes(8)), EINVAL);
  EXPECT_EQ(register_error(r, kMinor), EINVAL);  // private memory has no object
  EXPECT_EQ(register_error({r.start, r.start}, kMissing), EINVAL);
  EXPECT_EQ(register_error({r.start + 1, r.start + 1 + kPageSize}, kMissing), EINVAL);
  EXPECT_EQ(register_error({Address{0x20000}, Address{0x30000}}, kMissing), EINVAL);
  file_ = *engine_->open(std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::memory),
                         FileMode::read_only);
  const Range copy = map_file(file_, 2, MapFlags::private_);
  EXPECT_EQ(register_error(copy, kMissing), EINVAL);
  const Range read_only = map_file(file_, 2, MapFlags::shared, Prot::read);
  EXPECT_EQ(register_error(read_only, kMissing), EPERM);
  const auto other = *space_->create_user_faults();
  ASSERT_TRUE(other->register_range(page_of(r, 1), kPageSize, kMissing));
  EXPECT_EQ(register_error(r, kMissing), EBUSY);
  EXPECT_EQ(modes_at(r.start), UserFaultModes::none);  // Nothing was done.
  EXPECT_EQ(error_of(faults_->unregister_range(r.start, r.bytes())), EINVAL);
  EXPECT_EQ(error_of(faults_->unregister_range(Address{0x20000}, kPageSize)), EINVAL);
  EXPECT_EQ(error_of(faults_->unregister_range(copy.start, kPageSize)), EINVAL);
  EXPECT_EQ(error_of(faults_->unregister_range(r.start, kPageSize)), 0);
}

TEST_P(UserFaultsTest, vmas_merge_only_with_the_same_handler_and_the_same_modes) {
  const Range r = map(6);
  const uint64_t before = space_->map_count();
  ASSERT_TRUE(faults_->register_range(page_of(r, 2), 2 * kPageSize, kMissing));
  EXPECT_EQ(space_->map_count(), before + 2);
  EXPECT_TRUE(space_->find_vma(page_of(r, 2))->flags.has(VmaFlag::user_fault));
  ASSERT_TRUE(faults_->register_range(page_of(r, 4), kPageSize, kMissing | kClosing));
  EXPECT_EQ(space_->map_count(), before + 3);
  ASSERT_TRUE(faults_->register_range(page_of(r, 4), kPageSize, kMissing));  // has it already
  EXPECT_EQ(modes_at(page_of(r, 4)), kMissing | kClosing);
  ASSERT_TRUE(faults_->register_range(page_of(r, 2), 2 * kPageSize, kMissing | kClosing));
  EXPECT_EQ(space_->map_count(), before + 2);
  ASSERT_TRUE(faults_->register_range(page_of(r, 2), 3 * kPageSize, kClosing));
  EXPECT_EQ(modes_at(page_of(r, 2)), kMissing | kClosing);
  const auto other = *space_->create_user_faults();
  ASSERT_TRUE(other->register_range(page_of(r, 5), kPageSize, kMissing | kClosing));
  EXPECT_EQ(space_->map_count(), before + 2);  // it touches those of the first, and stays alone
  ASSERT_TRUE(other->unregister_range(page_of(r, 5), kPageSize));
  ASSERT_TRUE(faults_->unregister_range(page_of(r, 3), kPageSize));
  EXPECT_EQ(space_->map_count(), before + 4);
  ASSERT_TRUE(faults_->unregister_range(r.start, r.bytes()));
  EXPECT_EQ(space_->map_count(), before);
  EXPECT_FALSE(space_->find_vma(r.start)->flags.has(VmaFlag::user_fault));
}

TEST_P(UserFaultsTest, what_is_cut_and_changed_stays_registered) {
  const Range r = told(6);
  answer_with(4);
  ASSERT_TRUE(space_->protect(page_of(r, 1), kPageSize, Prot::read));
  ASSERT_TRUE(space_->advise(page_of(r, 3), kPageSize, Advice::random));
  ASSERT_TRUE(space_->unmap(page_of(r, 5), kPageSize));
  for (uint64_t p = 0; p < 5; ++p) EXPECT_EQ(read64(page_of(r, p)), 4u);
  ASSERT_TRUE(space_->advise(r.start, 5 * kPageSize, Advice::dontneed));
  for (uint64_t p = 0; p < 5; ++p) EXPECT_EQ(read64(page_of(r, p)), 4u);
  EXPECT_EQ(handler_.calls, 10);
  map_at(page_of(r, 2), 1);  // Another mapping in its place is nobody's.
  EXPECT_EQ(read64(page_of(r, 2)), 0u);
  EXPECT_EQ(handler_.calls, 10);
}

TEST_P(UserFaultsTest, a_forks_child_is_told_to_nobody) {
  const Range r = told(4, kMissing | kClosing);
  answer_with(6);
  write64(r.start, 1);
  ASSERT_TRUE(faults_->write_protect(r.start, r.bytes()));
  never_ask();
  const auto child = *engine_->fork(*space_);
  EXPECT_EQ(child->find_vma(r.start)->user_faults, UserFaultModes::none);
  EXPECT_EQ(read64(*child, page_of(r, 2)), 0u);
  write64(*child, r.start, 2);
  EXPECT_EQ(child->check(), "");
  EXPECT_EQ(read64(r.start), 1u);
  handler_.answer = [](const UserFault& f, const std::stop_token&) {
    EXPECT_EQ(f.kind, kClosing);  // The parent's page is as closed as before.
    return UserFaultAnswer::bus_error;
  };
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::bus_error);
}

TEST_P(UserFaultsTest, what_moves_is_told_to_nobody_and_what_grows_in_place_is) {
  const Range r = told(2, kMissing | kClosing);
  answer_with(6);
  write64(r.start, 1);
  ASSERT_TRUE(faults_->write_protect(r.start, kPageSize));
  const Range away = map(8);
  const Result<Address> moved =
      space_->remap({.old_address = r.start,
                     .old_length = kPageSize,
                     .new_length = kPageSize,
                     .flags = RemapFlags::maymove | RemapFlags::fixed | RemapFlags::dontunmap,
                     .new_address = page_of(away, 4)});
  ASSERT_TRUE(moved);
  EXPECT_EQ(modes_at(*moved), UserFaultModes::none);
  write64(*moved, 2);
  EXPECT_EQ(handler_.calls, 1);
  EXPECT_EQ(read64(r.start), 6u);  // Its old place is still told.
  ASSERT_TRUE(space_->unmap(away.start, away.bytes()));
  const Range low = map_at(Address{0x5000'0000}, 1);
  ASSERT_TRUE(faults_->register_range(low.start, kPageSize, kMissing));
  ASSERT_TRUE(space_->remap(
      {.old_address = low.start, .old_length = kPageSize, .new_length = 3 * kPageSize}));
  EXPECT_EQ(read64(page_of(low, 2)), 6u);
}

TEST_P(UserFaultsTest, stores_to_closed_pages_are_told_and_loads_are_not) {
  const Range r = told(4, kClosing);
  write64(r.start, 1);
  EXPECT_EQ(read64(page_of(r, 1)), 0u);  // the page of zeros
  ASSERT_TRUE(faults_->write_protect(r.start, 3 * kPageSize));
  never_ask();
  EXPECT_EQ(read64(r.start), 1u);
  EXPECT_EQ(read64(page_of(r, 1)), 0u);
  write64(page_of(r, 2), 5);  // It was not there, and so it is not closed.
  ASSERT_TRUE(space_->protect(r.start, r.bytes(), Prot::read));
  ASSERT_TRUE(space_->protect(r.start, r.bytes(), kRw));
  handler_.answer = [&](const UserFault& f, const std::stop_token&) {
    EXPECT_EQ(f.kind, kClosing);
    EXPECT_EQ(f.access, Access::write);
    EXPECT_TRUE(faults_->write_protect(f.address, kPageSize, UserProtectFlags::none));
    return UserFaultAnswer::look_again;
  };
  write64(r.start, 2);
  write64(page_of(r, 1), 3);
  EXPECT_EQ(handler_.calls, 2);
  EXPECT_EQ(read64(r.start), 2u);
  EXPECT_EQ(read64(page_of(r, 1)), 3u);
  ASSERT_TRUE(faults_->write_protect(r.start, kPageSize));
  ASSERT_TRUE(faults_->unregister_range(r.start, r.bytes()));
  write64(r.start, 4);
  EXPECT_EQ(handler_.calls, 2);
}

TEST_P(UserFaultsTest, a_page_may_come_closed_and_be_closed_before_it_comes) {
  const auto faults = *space_->create_user_faults({.protect_unpopulated = true});
  const Range r = map(3);
  ASSERT_TRUE(faults->register_range(r.start, r.bytes(), kMissing | kClosing));
  ASSERT_FALSE(faults->copy(r.start, page_full_of(8), UserFillFlags::write_protect).error);
  std::jthread store([&] { write64(r.start, 9); });
  EXPECT_EQ(faults->next()->kind, kClosing);
  EXPECT_EQ(read64(r.start), 8u);
  ASSERT_TRUE(faults->write_protect(r.start, kPageSize, UserProtectFlags::none));
  store.join();
  EXPECT_EQ(read64(r.start), 9u);

  const Range s = map(2);
  ASSERT_TRUE(faults->register_range(s.start, s.bytes(), kClosing));
  ASSERT_TRUE(faults->write_protect(s.start, s.bytes()));
  EXPECT_EQ(read64(s.start), 0u);
  std::jthread late([&] { write64(page_of(s, 1), 9); });
  EXPECT_EQ(faults->next()->address, page_of(s, 1));
  ASSERT_TRUE(faults->write_protect(s.start, s.bytes(), UserProtectFlags::none));
  late.join();
  write64(s.start, 1);
}

TEST_P(UserFaultsTest, shared_memory_has_missing_and_minor_faults) {
  const Range r = map(4, kRw, kSharedAnon);
  const Result<Address> alias = space_->remap({.old_address = r.start,
                                               .old_length = 0,
                                               .new_length = r.bytes(),
                                               .flags = RemapFlags::maymove});
  ASSERT_TRUE(alias);
  ASSERT_TRUE(faults_->register_range(r.start, r.bytes(), kMissing | kMinor));
  std::vector<UserFaultModes> kinds;
  handler_.answer = [&](const UserFault& f, const std::stop_token&) {
    kinds.push_back(f.kind);
    const UserFaultDone done = f.kind == kMinor ? faults_->map_cached(f.address, kPageSize)
                                                : faults_->copy(f.address, page_full_of(3));
    EXPECT_FALSE(done.error);
    return UserFaultAnswer::look_again;
  };
  write64(*alias, 11);
  EXPECT_EQ(read64(r.start), 11u);
  EXPECT_EQ(read64(page_of(r, 1)), 3u);
  EXPECT_EQ(read64(*alias + kPageSize), 3u);  // for all who map it
  EXPECT_EQ(kinds, (std::vector{kMinor, kMissing}));
  EXPECT_EQ(error_of(faults_->map_cached(page_of(r, 2), kPageSize)), EFAULT);
  EXPECT_EQ(error_of(faults_->map_cached(r.start, kPageSize)), EEXIST);
  EXPECT_EQ(error_of(faults_->copy(r.start, page_full_of(1))), EEXIST);
  EXPECT_FALSE(faults_->zero_pages(page_of(r, 2), 2 * kPageSize).error);
  EXPECT_EQ(read64(page_of(r, 3)), 0u);
  ASSERT_TRUE(space_->advise(r.start, r.bytes(), Advice::dontneed));
  EXPECT_EQ(read64(page_of(r, 1)), 3u);
  EXPECT_EQ(kinds.back(), kMinor);
  ASSERT_TRUE(space_->unmap(*alias, r.bytes()));
}

TEST_P(UserFaultsTest, what_is_closed_in_shared_memory_stays_closed_when_it_is_dropped) {
  const Range r = told(3, kClosing, kSharedAnon);
  write64(r.start, 1);
  ASSERT_TRUE(faults_->write_protect(r.start, r.bytes()));
  ASSERT_TRUE(space_->advise(r.start, r.bytes(), Advice::dontneed));
  EXPECT_EQ(read64(r.start), 1u);
  handler_.answer = [&](const UserFault& f, const std::stop_token&) {
    EXPECT_EQ(f.kind, kClosing);
    EXPECT_TRUE(faults_->write_protect(f.address, kPageSize, UserProtectFlags::none));
    return UserFaultAnswer::look_again;
  };
  write64(r.start, 2);
  write64(page_of(r, 1), 3);  // It never was there.
  EXPECT_EQ(handler_.calls, 2);
  EXPECT_EQ(read64(r.start), 2u);
}

TEST_P(UserFaultsTest, pages_move_to_where_none_are_without_a_copy) {
  const Range to = told(4);
  const Range from = map(4);
  const Range other = map(1, Prot::read);
  never_ask();
  for (uint64_t p = 0; p < 4; ++p) write64(page_of(from, p), p + 1);
  const std::byte* const page = space_->translate(page_of(from, 1), Access::read);
  ASSERT_FALSE(faults_->move(page_of(to, 2), page_of(from, 1), kPageSize).error);
  EXPECT_EQ(space_->translate(page_of(to, 2), Access::write), page);
  EXPECT_EQ(read64(page_of(to, 2)), 2u);
  EXPECT_EQ(read64(page_of(from, 1)), 0u);  // a fresh page
  EXPECT_EQ(space_->check(), "");
  const auto move = [&](Address t, Address f, uint64_t pages = 1,
                        UserMoveFlags flags = UserMoveFlags::none) {
    return error_of(faults_->move(t, f, pages * kPageSize, flags));
  };
  EXPECT_EQ(move(page_of(to, 2), page_of(from, 2)), EEXIST);
  EXPECT_EQ(move(page_of(to, 0), page_of(to, 3)), ENOENT);  // nothing there
  EXPECT_EQ(move(page_of(to, 0), page_of(to, 3), 1, UserMoveFlags::allow_source_holes), 0);
  EXPECT_EQ(move(page_of(to, 0), page_of(to, 2)), 0);  // within one VMA
  EXPECT_EQ(read64(to.start), 2u);
  EXPECT_EQ(move(page_of(to, 3), page_of(from, 3), 2), EINVAL);  // beyond the VMA
  EXPECT_EQ(move(from.start, page_of(to, 0)), EINVAL);           // not registered
  EXPECT_EQ(move(page_of(to, 1), other.start), EINVAL);          // other rights
  EXPECT_EQ(move(page_of(to, 1), Address{0x20000}), ENOENT);
  EXPECT_EQ(move(page_of(to, 1), page_of(from, 0), 1, UserMoveFlags(4)), EINVAL);
  const UserFaultDone part = faults_->move(page_of(to, 2), page_of(from, 0), 2 * kPageSize);
  EXPECT_EQ(part.bytes, 2 * kPageSize);  // The page of zeros moves too.
  EXPECT_EQ(read64(page_of(to, 2)), 1u);
  EXPECT_EQ(read64(page_of(to, 3)), 0u);
}

TEST_P(UserFaultsTest, a_page_that_a_forks_other_side_shows_does_not_move) {
  const Range to = told(1);
  const Range from = map(1);
  write64(from.start, 5);
  auto child = *engine_->fork(*space_);
  EXPECT_EQ(error_of(faults_->move(to.start, from.start, kPageSize)), EBUSY);
  EXPECT_EQ(read64(*child, from.start), 5u);
  child.reset();
  EXPECT_EQ(error_of(faults_->move(to.start, from.start, kPageSize)), 0);
  EXPECT_EQ(read64(to.start), 5u);
}

TEST_P(UserFaultsTest, after_exit_there_is_no_such_process) {
  const Range r = told(1);
  space_->exit();
  EXPECT_EQ(error_of(faults_->copy(r.start, page_full_of(1))), ESRCH);
  EXPECT_EQ(error_of(faults_->move(r.start, r.start, kPageSize)), ESRCH);
  EXPECT_EQ(error_of(faults_->write_protect(r.start, kPageSize)), ESRCH);
  EXPECT_EQ(register_error(r, kMissing), ESRCH);
  EXPECT_EQ(error_of(faults_->unregister_range(r.start, kPageSize)), ESRCH);
}

class UserFaultsAndSwap : public UserFaultFixture {
 protected:
  UserFaultsAndSwap()
      : UserFaultFixture({.frames = {200}, .swap = make_store(StoreKind::lz4, {1'000})}) {}
};

TEST_P(UserFaultsAndSwap, a_closed_page_comes_back_closed_and_moves_while_it_is_away) {
  const Range r = told(2, kMissing | kClosing);
  const Range from = map(1);
  answer_with(3);
  write64(r.start, 7);
  write64(from.start, 8);
  ASSERT_TRUE(faults_->write_protect(r.start, kPageSize));
  ASSERT_TRUE(space_->advise(r.start, kPageSize, Advice::pageout));
  ASSERT_TRUE(space_->advise(from.start, kPageSize, Advice::pageout));
  EXPECT_EQ(space_->statistics().pages.swapped, 2u);
  ASSERT_FALSE(faults_->move(page_of(r, 1), from.start, kPageSize).error);
  EXPECT_EQ(read64(page_of(r, 1)), 8u);
  handler_.answer = [&](const UserFault& f, const std::stop_token&) {
    EXPECT_EQ(f.kind, kClosing);
    EXPECT_TRUE(faults_->write_protect(f.address, kPageSize, UserProtectFlags::none));
    return UserFaultAnswer::look_again;
  };
  write64(r.start + 8, 1);
  EXPECT_EQ(handler_.calls, 2);
  EXPECT_EQ(read64(r.start), 7u);
}

INSTANTIATE_TEST_SUITE_P(Designs, UserFaultsTest, ::testing::ValuesIn(kDesigns), test::design_of);
INSTANTIATE_TEST_SUITE_P(Designs, UserFaultsAndSwap, ::testing::ValuesIn(kDesigns),
                         test::design_of);

}  // namespace
}  // namespace pervma
