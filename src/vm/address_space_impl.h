// address_space_impl.h: all of BasicAddressSpace, for the .cpp files that instantiate it.
#pragma once

#include <cstring>

#include "vm/address_space.h"
#include "vm/advise.h"
#include "vm/all_locks.h"
#include "vm/brk.h"
#include "vm/collapse.h"
#include "vm/lifecycle.h"
#include "vm/limits.h"
#include "vm/lock_memory.h"
#include "vm/lookup.h"
#include "vm/map.h"
#include "vm/maps.h"
#include "vm/populate.h"
#include "vm/protect.h"
#include "vm/remap.h"
#include "vm/residency.h"
#include "vm/seal.h"
#include "vm/user_registration.h"
#include "vm/written.h"
