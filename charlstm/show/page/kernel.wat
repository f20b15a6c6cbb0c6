;; In: an int8 matrix and a vector of int16. Out: their products, one int32 for each row.
;;
;; kernel.js imports it: kernel.wasm is this file, assembled; a test compares the two. The matrix lies in tiles of four
;; rows and sixteen columns, padded with zeros, so that it is read from its beginning to its end: first the sixteen
;; columns of each of four rows, then the next sixteen. No sum may reach 2^31.
(module
  (import "page" "memory" (memory 1))

  (func (export "multiply")
    (param $matrix i32) ;; where it begins
    (param $rows i32)
    (param $columns i32) ;; a multiple of 16
    (param $vector i32) ;; where it begins, a multiple of 16
    (param $sums i32) ;; where they begin; as many as rows, rounded up to a multiple of 4
    (local $sums_end i32) (local $vector_end i32) (local $at i32)
    (local $low v128) (local $high v128)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)

    (local.set $sums_end (i32.add (local.get $sums) (i32.shl (local.get $rows) (i32.const 2))))
    (local.set $vector_end (i32.add (local.get $vector) (i32.shl (local.get $columns) (i32.const 1))))
    (loop $next_rows
      (if (i32.lt_u (local.get $sums) (local.get $sums_end)) (then
        (local.set $at (local.get $vector))
        (local.set $a (v128.const i32x4 0 0 0 0))
        (local.set $b (v128.const i32x4 0 0 0 0))
        (local.set $c (v128.const i32x4 0 0 0 0))
        (local.set $d (v128.const i32x4 0 0 0 0))
        (loop $next_columns
          (local.set $low (v128.load (local.get $at)))
          (local.set $high (v128.load offset=16 (local.get $at)))
          (local.set $a (i32x4.add (local.get $a) (i32x4.add
            (i32x4.dot_i16x8_s (local.get $low) (v128.load8x8_s (local.get $matrix)))
            (i32x4.dot_i16x8_s (local.get $high) (v128.load8x8_s offset=8 (local.get $matrix))))))
          (local.set $b (i32x4.add (local.get $b) (i32x4.add
            (i32x4.dot_i16x8_s (local.get $low) (v128.load8x8_s offset=16 (local.get $matrix)))
            (i32x4.dot_i16x8_s (local.get $high) (v128.load8x8_s offset=24 (local.get $matrix))))))
          (local.set $c (i32x4.add (local.get $c) (i32x4.add
            (i32x4.dot_i16x8_s (local.get $low) (v128.load8x8_s offset=32 (local.get $matrix)))
            (i32x4.dot_i16x8_s (local.get $high) (v128.load8x8_s offset=40 (local.get $matrix))))))
          (local.set $d (i32x4.add (local.get $d) (i32x4.add
            (i32x4.dot_i16x8_s (local.get $low) (v128.load8x8_s offset=48 (local.get $matrix)))
            (i32x4.dot_i16x8_s (local.get $high) (v128.load8x8_s offset=56 (local.get $matrix))))))
          (local.set $matrix (i32.add (local.get $matrix) (i32.const 64)))
          (local.set $at (i32.add (local.get $at) (i32.const 32)))
          (br_if $next_columns (i32.lt_u (local.get $at) (local.get $vector_end))))

        ;; Each of a, b, c and d has four parts of a row's sum: lanes of a and b side by side, added, then of both pairs.
        (local.set $low (i32x4.add
          (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $a) (local.get $b))
          (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $a) (local.get $b))))
        (local.set $high (i32x4.add
          (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $c) (local.get $d))
          (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $c) (local.get $d))))
        (v128.store (local.get $sums) (i32x4.add
          (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $low) (local.get $high))
          (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $low) (local.get $high))))
        (local.set $sums (i32.add (local.get $sums) (i32.const 16)))
        (br $next_rows)))))
)
