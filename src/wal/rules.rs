//! Rule -> test: what a write-ahead log gets wrong (RELIABILITY, section 2), and the test that goes red
//! when we do. A test holds this table against the sources.
//!
//! The rules 42 and 49 do not apply, for the reason in their row. How the tests were themselves tested,
//! by breaking the code on purpose, is in `tests/README.md`.
//!
//! | rule | in short | tests |
//! |---|---|---|
//! | | **A. Making bytes durable** | |
//! | 1 | an answer only after the sync of what it covers | `rule_1_an_order_is_acknowledged_only_after_the_sync_that_covers_it` |
//! |  |  | `whatever_was_acknowledged_is_there_once_after_any_crash` |
//! | 2 | only a sync is a sync | `rule_2_on_a_real_disk_each_group_costs_one_sync_and_no_answer_comes_before_it` |
//! |  |  | `groups_go_past_the_page_cache_where_the_file_takes_it_and_the_counts_say_so` |
//! |  |  | `what_is_written_durably_survives_the_power_cut_whichever_way_it_went` |
//! | 3 | names are synced before the first answer that needs them | `rule_3_every_name_is_durable_before_the_first_order_that_needs_it` |
//! |  |  | `rule_3_the_witness_survives_a_power_cut` |
//! | 4 | the parent of the directory too | `rule_2_on_a_real_disk_each_group_costs_one_sync_and_no_answer_comes_before_it` |
//! | 5 | write, sync, rename, sync the directory | `rule_5_a_replacement_is_written_synced_renamed_and_its_name_synced_in_this_order` |
//! |  |  | `a_merge_may_be_cut_off_at_every_call` |
//! | 6 | content before what refers to it | `rule_6_no_witness_becomes_durable_ahead_of_the_log` |
//! |  |  | `rule_6_a_footer_is_on_disk_only_with_the_sections_it_stands_for` |
//! | 7 | the old segment before the new one | `rule_7_the_old_segment_is_synced_before_a_group_goes_into_the_new_one` |
//! | 8 | no change of size on the way to an answer | `rule_8_between_two_segments_neither_size_nor_names_change` |
//! | 9 | short writes and interrupted calls | `rule_9_short_writes_short_reads_and_interrupted_calls_are_neither_errors_nor_successes` |
//! | 10 | sync before reading at open | `rule_10_opening_makes_durable_what_it_is_going_to_rest_on_before_it_reads` |
//! | | **B. When the device says no** | |
//! | 11 | never sync again, never write again | `rule_11_after_a_failed_sync_nothing_is_written_and_nothing_synced_again` |
//! |  |  | `rule_11_an_idle_seal_that_meets_a_failed_sync_writes_and_syncs_nothing` |
//! |  |  | `rule_11_sealing_after_a_failed_sync_begins_again_on_another_descriptor` |
//! | 12 | poison; everyone in the group is in doubt | `rule_12_everyone_in_the_group_is_in_doubt_everyone_later_is_refused_and_reads_go_on` |
//! | 13 | the tail is read past the page cache | `rule_13_opening_tells_what_the_disk_holds_not_what_the_page_cache_shows` |
//! |  |  | `rule_13_an_opening_that_cannot_drop_the_page_cache_does_not_believe_it` |
//! | 14 | errors of every call | `rules_14_and_15_every_call_may_fail_in_every_way_once_or_for_ever` |
//! |  |  | `what_callers_were_told_holds_whatever_call_fails_in_whatever_way` |
//! |  |  | `rule_14_no_descriptor_left_refuses_and_poisons_nothing` |
//! |  |  | `rule_14_descriptors_that_go_while_a_segment_is_begun_poison_nothing` |
//! | 15 | a full disk refuses early and needs no repair | `rule_15_a_full_disk_refuses_before_a_byte_is_written_and_goes_on_by_itself` |
//! |  |  | `rule_15_a_disk_that_was_full_for_one_large_order_is_not_full_for_ever` |
//! |  |  | `rule_15_the_reserve_is_kept_for_orders_that_exist` |
//! |  |  | `rule_34_the_reserve_is_kept_whatever_its_size` |
//! |  |  | `rule_15_no_room_for_the_lock_file_is_a_full_disk` |
//! | 16 | a read error is never the end of the log | `rule_16_what_cannot_be_read_is_an_error_and_never_the_end_of_the_log` |
//! |  |  | `rule_16_a_table_that_cant_be_read_is_rebuilt_from_the_groups` |
//! |  |  | `rule_16_a_table_that_goes_bad_while_the_ledger_is_open_is_rebuilt_too` |
//! |  |  | `rule_16_a_footer_that_cant_be_read_is_made_again_from_the_groups` |
//! |  |  | `rule_16_a_last_block_that_holds_groups_and_cant_be_read_is_no_end` |
//! |  |  | `a_sector_that_cant_be_read_hides_no_order_in_front_of_it` |
//! | 17 | a panic poisons and wakes | `rule_17_a_panic_while_a_group_is_written_poisons_and_wakes_everyone` |
//! |  |  | `rule_17_a_panic_while_the_last_group_is_sealed_poisons_and_nobody_waits_for_ever` |
//! |  |  | `rule_17_a_waker_that_panics_keeps_nobody_else_waiting` |
//! |  |  | `rule_17_a_key_is_free_again_whatever_happens_while_the_validator_looks` |
//! |  |  | `rule_17_a_validator_that_throws_something_malicious_refuses_for_now` |
//! | | **C. Record format** | |
//! | 18 | the checksum covers everything | `rule_18_every_single_bit_and_the_place_are_covered` |
//! | 19 | zeros are never a record | `rule_19_zeros_are_never_a_record` |
//! | 20 | lengths are bounded before they are used | `rule_20_a_length_is_bounded_before_it_is_used` |
//! |  |  | `rule_20_a_forged_length_inside_a_body_is_an_error_and_allocates_nothing` |
//! |  |  | `rule_19_and_20_a_length_that_no_group_can_have_is_a_torn_tail_and_allocates_nothing` |
//! |  |  | `damage_never_costs_twice_the_memory_of_the_largest_file` |
//! | 21 | each group links to the one before | `rule_21_a_group_that_does_not_link_to_the_one_before_is_not_part_of_the_log` |
//! | 22 | also across segments | `rule_22_a_missing_segment_is_noticed_wherever_it_was` |
//! |  |  | `rule_22_a_sealed_segment_of_its_first_size_is_not_taken_for_the_last_one` |
//! |  |  | `rule_22_a_segment_of_another_history_does_not_continue_this_one` |
//! | 23 | nothing old joins again | `rule_23_a_group_of_another_segment_or_of_another_ledger_does_not_join` |
//! | 24 | zeros behind the cut before the first append | `rule_24_what_was_cut_is_zeroed_before_anything_is_appended` |
//! | 25 | a file says whose it is | `rule_25_a_segment_of_another_ledger_with_another_number_or_a_bent_header_is_refused` |
//! | 26 | one checksum over a batch | `rule_26_a_batch_is_there_as_a_whole_or_not_at_all` |
//! | 27 | no trailing bytes, no unknown kinds | `rule_27_a_record_of_an_unknown_kind_is_refused_unless_it_may_be_skipped` |
//! |  |  | `rule_27_a_record_of_another_program_is_named_with_its_place` |
//! |  |  | `rule_27_bytes_behind_a_body_are_refused` |
//! |  |  | `rule_27_a_body_that_is_too_short_or_too_long_does_not_decode` |
//! | | **D. Torn tail against rot** | |
//! | 28 | judged per group | `rule_28_damage_is_judged_per_group` |
//! |  |  | `rule_28_a_torn_group_whose_payload_looks_like_groups_is_cut` |
//! |  |  | `whatever_a_power_cut_leaves_of_the_last_group_is_cut_and_never_refused` |
//! |  |  | `every_row_of_the_table` |
//! | 29 | a seal when idle | `rule_29_an_idle_ledger_proves_its_last_group_within_a_bounded_time` |
//! |  |  | `rule_29_a_full_segment_without_room_for_a_seal_is_proven_by_the_witness` |
//! | 30 | rot is refused with its place | `rule_30_and_32_rot_is_refused_with_its_place_and_no_byte_is_changed` |
//! |  |  | `every_damage_to_the_log_is_noticed_or_harmless` |
//! | 31 | a sealed segment has no torn tail | `rule_31_any_invalid_byte_of_a_sealed_segment_is_damage_and_never_an_absence` |
//! | 32 | no laundering | `rule_30_and_32_rot_is_refused_with_its_place_and_no_byte_is_changed` |
//! | 33 | sealed segments are verified on demand | `rule_33_a_flipped_bit_is_found_wherever_it_is` |
//! | | **E. Recovery, tables, idempotency** | |
//! | 34 | opening may be killed, three times in a row | `rule_34_opening_may_be_cut_off_at_every_call_three_times_in_a_row` |
//! |  |  | `rule_34_making_a_ledger_may_be_cut_off_at_every_call` |
//! | 35 | the key comes and goes with its order | `rule_35_there_is_no_moment_when_the_order_exists_and_its_key_does_not` |
//! |  |  | `rule_35_keys_are_found_again_after_the_offsets_were` |
//! | 36 | what is derived is rebuilt; a witness ahead refuses | `rule_36_a_witness_ahead_of_the_log_refuses_any_other_is_written_anew` |
//! |  |  | `rule_36_an_error_of_the_device_does_not_set_the_witness_aside` |
//! |  |  | `rule_36_everything_derived_may_be_deleted_or_replaced_by_garbage` |
//! |  |  | `a_run_that_is_damaged_or_gone_changes_no_answer` |
//! |  |  | `a_run_of_another_history_is_not_believed` |
//! |  |  | `rule_36_a_sound_watermark_beyond_the_log_is_proof_and_is_kept` |
//! | 37 | a hit is a hint | `rule_37_a_hit_in_the_tables_is_a_hint_and_the_key_is_compared_in_the_log` |
//! |  |  | `rule_37_a_table_that_is_too_small_for_its_orders_is_not_believed` |
//! | 38 | no key is forgotten by the clock | `rule_38_and_51_no_answer_depends_on_the_wall_clock` |
//! |  |  | `rule_51_a_clock_at_its_end_costs_no_order` |
//! | 39 | other content under a key writes nothing | `rule_39_other_content_under_a_key_writes_nothing` |
//! | 40 | one key, one record, one fate | `rule_40_one_key_in_one_round_is_one_record_and_one_fate` |
//! |  |  | `rule_5_sixty_four_threads_with_one_key_make_one_order` |
//! | 41 | a refused first hides none behind it | `rule_41_an_order_that_was_not_taken_hides_none_behind_it` |
//! | 42 | new state before old files go | does not apply: nothing is purged or compacted, no file that holds a group is ever removed |
//! | 43 | consumers see only what is durable | `rule_43_and_44_an_order_is_seen_from_the_sync_on_and_not_a_moment_before` |
//! | 44 | seen at once after the answer | `rule_43_and_44_an_order_is_seen_from_the_sync_on_and_not_a_moment_before` |
//! |  |  | `rule_48_readers_beside_a_writer_in_real_threads_see_what_was_acknowledged_and_no_damage` |
//! | | **F. Around the file** | |
//! | 45 | one writer | `rule_45_a_second_opener_fails_at_once_also_in_the_same_process` |
//! |  |  | `rule_37_a_second_opener_is_told_who_holds_the_ledger` |
//! | 46 | one directory descriptor; a move is noticed | `rule_46_a_directory_that_is_moved_under_a_running_ledger_is_noticed` |
//! |  |  | `rule_46_a_ledger_that_was_renamed_is_never_split_in_two` |
//! |  |  | `a_directory_that_was_moved_is_noticed_and_still_works` |
//! |  |  | `rule_46_whoever_removes_the_lock_file_opens_no_second_writer` |
//! |  |  | `rule_46_a_log_that_was_removed_under_a_running_ledger_is_noticed` |
//! |  |  | `a_relative_path_still_means_the_same_after_a_change_of_the_working_directory` |
//! | 47 | no writing after a fork; descriptors | `rule_47_a_forked_child_does_not_write` |
//! |  |  | `all_descriptors_close_on_exec` |
//! |  |  | `a_low_descriptor_is_raised_and_stays_the_same_file` |
//! |  |  | `rule_47_a_ledger_of_many_segments_holds_few_descriptors` |
//! |  |  | `rule_47_a_process_with_few_descriptors_has_a_ledger_of_any_size` |
//! | 48 | reading changes nothing, also beside a writer | `rule_48_a_reader_takes_no_lock_and_changes_no_byte` |
//! |  |  | `rule_48_a_reader_shows_nothing_that_a_power_cut_can_take_back` |
//! |  |  | `rule_48_a_reader_works_where_nothing_can_be_synced` |
//! |  |  | `rule_48_a_reader_is_not_led_astray_by_a_writer_that_is_faster` |
//! |  |  | `rule_48_groups_that_come_while_a_reader_looks_for_the_end_are_not_damage` |
//! |  |  | `rule_48_readers_beside_a_writer_in_real_threads_see_what_was_acknowledged_and_no_damage` |
//! | 49 | a copy is not a backup | does not apply yet: there is no backup call; a copy of a ledger that is closed is one |
//! | 50 | newer formats are refused, old ones read | `rule_50_a_newer_version_is_refused_and_not_touched` |
//! |  |  | `rule_50_a_group_with_flags_of_a_newer_version_is_refused_and_not_cut` |
//! |  |  | `rule_50_ledgers_of_version_1_open_for_ever` |
//! |  |  | `rule_50_what_is_written_today_has_the_layout_of_the_fixtures` |
//! |  |  | `rule_50_the_bodies_of_version_1_have_the_bytes_that_are_committed` |
//! |  |  | `rule_50_the_golden_bytes_are_read_by_a_second_crate` |
//! | 51 | no behaviour depends on the wall clock | `rule_38_and_51_no_answer_depends_on_the_wall_clock` |
//! | 52 | bounds before anything is formed | `rule_52_bounds_are_checked_before_a_group_is_formed` |
//! |  |  | `rule_33_a_full_queue_refuses_new_orders_and_answers_replays` |

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every Rust source below `dir`, one after the other.
    fn sources(dir: &Path, text: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_rule_has_a_row_and_every_test_named_there_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut text = String::new();
        sources(&root.join("src"), &mut text);
        sources(&root.join("tests"), &mut text);
        let table = include_str!("rules.rs").lines().take_while(|line| line.starts_with("//!"));
        let (mut rules, mut tests) = (Vec::new(), 0);
        for row in table.filter_map(|line| line.strip_prefix("//! | ")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            if let Ok(rule) = cells[0].parse::<u32>() {
                rules.push(rule);
            }
            let Some(name) = cells[2].strip_prefix('`').and_then(|cell| cell.strip_suffix('`'))
            else {
                assert!(
                    cells[2].is_empty()
                        || cells[2].contains("does not apply")
                        || cells[2] == "tests"
                        || cells[0].starts_with("--"),
                    "{row}"
                );
                continue;
            };
            assert!(text.contains(&format!("fn {name}()")), "there is no test {name}");
            tests += 1;
        }
        assert_eq!(rules, (1..=52).collect::<Vec<_>>());
        assert!(tests > 60);
    }
}
