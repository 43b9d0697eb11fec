/* XXH64 of 37 rows of 512 columns of random blocks, packed; see pack_file_test.c. */
{QN_TYPE_F32, 0x342c085ff2c3e0deu}, {QN_TYPE_F16, 0xdb6ad527cd1dff65u}, {QN_TYPE_Q4_0, 0x99f92b7d5b61105bu},
    {QN_TYPE_Q4_1, 0x5254e13a057b8357u}, {QN_TYPE_Q5_0, 0xdb726acc445e01cau},
    {QN_TYPE_Q5_1, 0xf2769c01956d7e87u}, {QN_TYPE_Q8_0, 0x943a27795d790d7fu},
    {QN_TYPE_Q2_K, 0xa90fd663099e5b08u}, {QN_TYPE_Q3_K, 0x3e7b6db5742fadbbu},
    {QN_TYPE_Q4_K, 0xc9c13d4c99b23483u}, {QN_TYPE_Q5_K, 0x5340f4589984d77eu},
    {QN_TYPE_Q6_K, 0xccc45e08121658a3u}, {QN_TYPE_IQ4_NL, 0xe7c9ab5235d6479fu},
    {QN_TYPE_IQ4_XS, 0x34c5af80e72ef192u}, {QN_TYPE_BF16, 0x9d6dc6e8363476c7u},
    {QN_TYPE_MXFP4, 0xec4e36051c4b48cfu},
