/* SPDX-License-Identifier: MIT */

/* A shared object that is no driver. */

extern const int not_a_driver;
const int not_a_driver = 1;
